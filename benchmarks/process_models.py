"""The same solves in one process, two or one for each GPU, by CUDA IPC and by NCCL: one table.

    python benchmarks/process_models.py
    python benchmarks/process_models.py --sizes 16384 --routines potrs --models 1,4,4:nccl

A model is a number of processes, which share the GPUs of this machine equally, with ":nccl" if
JAXMG_TRANSPORT=nccl is set, and ":own" if each process sees its own GPUs only. The models run one
after another on the same GPUs; a failure is an entry with its reason. Every result is checked.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULT = "@result "
EPS = 2.0**-52
MODELS = "1,2,4,4:own,1:nccl,2:nccl,4:nccl"


# ---- in the processes of a model -----------------------------------------------------------------


def member(options, number: int) -> None:
    import jax

    jax.config.update("jax_enable_x64", True)
    each = options.gpus // options.processes
    first = 0 if options.own else number * each
    if options.processes > 1:
        jax.distributed.initialize(
            f"localhost:{options.port}",
            options.processes,
            number,
            local_device_ids=list(range(first, first + each)),
        )
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    mesh = Mesh(np.array(jax.devices()[: options.gpus]), ("x",))
    rows, everywhere = (
        NamedSharding(mesh, spec) for spec in (PartitionSpec("x", None), PartitionSpec())
    )
    for n in options.sizes:
        for routine in options.routines:
            seconds, error = MEASUREMENTS[routine](n, rows, everywhere, options.samples)
            if number == 0:
                result = {"routine": routine, "n": n, "samples": seconds, "error": error}
                print("\n" + RESULT + json.dumps(result), flush=True)
    if number == 0 and options.processes > 1:
        from jaxmg._native import cuda

        how = cuda.exchange_between_processes()
        print("\n" + RESULT + json.dumps({"how": how}), flush=True)


def _timed(call, samples: int):
    """Time a fixed number of calls, the same in all processes; return also the last result."""
    import jax

    jax.block_until_ready(call())
    jax.block_until_ready(call())
    seconds = []
    for _ in range(samples):
        result = None  # it may be as large as the matrix
        began = time.perf_counter()
        result = jax.block_until_ready(call())
        seconds.append(time.perf_counter() - began)
    return seconds, result


def _potrs(n, rows, everywhere, samples):
    import jax
    import jaxmg
    from jaxmg._tools.bench import systems

    a = systems.make_matrix(n, "float64", rows)
    b = systems.make_right_hand_sides(n, 1, "float64", everywhere)
    solve = jax.jit(lambda a, b: jaxmg.linalg.solve(a, b, assume_a="pos"))
    seconds, x = _timed(lambda: solve(a, b), samples)
    return seconds, systems.relative_residual(a, x, b)


def _potri(n, rows, everywhere, samples):
    import jax
    import jaxmg
    from jaxmg._tools.bench import systems

    a = systems.make_matrix(n, "float64", rows)
    b = systems.make_right_hand_sides(n, systems.PROBES, "float64", everywhere)
    invert = jax.jit(lambda a: jaxmg.linalg.inv(a, assume_a="pos"))
    seconds, x = _timed(lambda: invert(a), samples)
    return seconds, systems.relative_residual(a, systems.product(x, b), b)


def _eigh(n, rows, everywhere, samples):
    import jax
    import jaxmg
    from jaxmg._tools.bench import systems

    a = systems.make_matrix(n, "float64", rows, systems.hermitian_noise)
    b = systems.make_right_hand_sides(n, systems.PROBES, "float64", everywhere)
    solve = jax.jit(jaxmg.linalg.eigh)
    seconds, (values, vectors) = _timed(lambda: solve(a), min(samples, 3))
    return seconds, max(systems.eigen_errors(a, values, vectors, b))


MEASUREMENTS = {"potrs": _potrs, "potri": _potri, "eigh": _eigh}


# ---- the command ---------------------------------------------------------------------------------


def run_model(model: str, options) -> dict:
    """Return {(routine, n): seconds or a reason, "how": text} of a model."""
    count, *words = model.split(":")
    processes = int(count)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, __file__, "--gpus", str(options.gpus), "--port", str(port)]
    command += ["--processes", count, "--samples", str(options.samples)]
    command += ["--sizes", ",".join(map(str, options.sizes))]
    command += ["--routines", ",".join(options.routines), *(["--own"] if "own" in words else [])]
    environment = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.85", **os.environ}
    if "nccl" in words:
        environment["JAXMG_TRANSPORT"] = "nccl"
    each = options.gpus // processes
    with contextlib.ExitStack() as stack:
        logs = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(processes)]
        running = []
        for number, log in enumerate(logs):
            own = {}
            if "own" in words:
                ids = range(number * each, (number + 1) * each)
                own["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, ids))
            running.append(
                subprocess.Popen(
                    [*command, "--member", str(number)],
                    env=environment | own,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )
        deadline = time.monotonic() + options.limit
        while any(process.poll() is None for process in running) and time.monotonic() < deadline:
            if any(process.poll() for process in running):
                deadline = min(deadline, time.monotonic() + 5)
            time.sleep(0.1)
        late = any(process.poll() is None for process in running)
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        texts = []
        for log in logs:
            log.seek(0)
            texts.append(log.read())
    found = {}
    for line in texts[0].splitlines():
        if not line.startswith(RESULT):
            continue
        result = json.loads(line[len(RESULT) :])
        if "how" in result:
            found["how"] = result["how"]
            continue
        fine = result["error"] < result["n"] * EPS
        seconds = statistics.median(result["samples"])
        reason = f"wrong: {result['error']:.1e}"
        found[result["routine"], result["n"]] = seconds if fine else reason
    if late or any(process.returncode for process in running):
        states = [process.returncode for process in running]
        print(f"{model}: " + ("too late" if late else f"processes ended with {states}"), flush=True)
        for number, text in enumerate(texts):
            print(f"--- process {number}\n{text[-3000:]}", flush=True)
    return found


def main() -> None:
    options = parse_arguments()
    if options.member is not None:
        member(options, options.member)
        return
    if options.gpus is None:
        ask = "import jax; print(len(jax.devices('gpu')))"
        answer = subprocess.run([sys.executable, "-c", ask], stdout=subprocess.PIPE, text=True)
        options.gpus = int(answer.stdout.split()[-1])
    jobs = [(routine, n) for routine in options.routines for n in options.sizes]
    columns = [f"{routine} {n}" for routine, n in jobs]
    print(f"Medians in seconds on {options.gpus} GPUs, float64 (and relative to the first row)")
    print("| processes | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|", flush=True)
    reference, ways = {}, {}
    for model in options.models:
        if options.gpus % int(model.split(":")[0]) != 0:
            continue
        found = run_model(model, options)
        ways[model] = found.pop("how", "")
        reference = reference or found
        cells = []
        for job in jobs:
            value, first = found.get(job, "failed"), reference.get(job)
            if isinstance(value, float):
                ratio = f" ({value / first:.2f})" if isinstance(first, float) else ""
                cells.append(f"{value:.4f}{ratio}")
            else:
                cells.append(value)
        print(f"| {model} | " + " | ".join(cells) + " |", flush=True)
    for model, how in ways.items():
        if how:
            print(f"{model}: {how}")


def parse_arguments():
    def words(text):
        return text.split(",")

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--sizes", type=lambda text: [int(n) for n in text.split(",")], default=[16384, 32768])
    add("--routines", type=words, default=["potrs", "potri", "eigh"])
    add("--models", type=words, default=words(MODELS))
    add("--samples", type=int, default=7, help="calls to time (at most 3 of eigh)")
    add("--gpus", type=int, help="number of GPUs (default: all)")
    add("--limit", type=float, default=240, help="seconds for each model")
    for internal in ("--member", "--port", "--processes"):
        add(internal, type=int, help=argparse.SUPPRESS)
    add("--own", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
