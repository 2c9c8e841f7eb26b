"""One process of a program of several: multi_process_worker.py TASK PORT PROCESSES PROCESS.

test_multi_process.py starts as many of these as a task needs. A process that is content says so
with the last line it prints, "fine".
"""

import os
import sys
import time
import traceback

import jax
import jax.numpy as jnp
import numpy as np
from jax.errors import JaxRuntimeError
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxmg import linalg, potrs
from systems import ROWS, assert_solves, gaussian, positive_definite

jax.config.update("jax_enable_x64", True)


def solve(a, b, **options):
    return linalg.solve(a, b, assume_a="pos", **options)


def on_mesh(array, mesh, *spec):
    """Each process makes its shards, of what all of them know; replicated if they do not divide."""
    sharding = NamedSharding(mesh, P(*spec))
    try:
        sharding.shard_shape(array.shape)
    except ValueError:
        sharding = NamedSharding(mesh, P())
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def all_devices():
    return Mesh(np.array(jax.devices()), ("x",))


def smooth_kernel(n, dtype, mesh):
    """A kernel matrix, made where its rows are to be."""

    def make():
        i = jnp.arange(n)
        distance = (i[:, None] - i[None, :]).astype(jnp.float64) / 50
        return (jnp.exp(-(distance**2)) + jnp.where(distance == 0, 1e-2, 0)).astype(dtype)

    return jax.jit(make, out_shardings=NamedSharding(mesh, ROWS))()


# --- CPU --------------------------------------------------------------------------------------


def refused_over_processes():
    mesh = all_devices()
    a, b = on_mesh(positive_definite(24), mesh, "x", None), on_mesh(gaussian((24, 2)), mesh)
    calls = {
        "solve": lambda: solve(a, b),
        "jit of solve": lambda: jax.jit(solve)(a, b),
        "potrs": lambda: potrs(a, b, 3, mesh, ROWS),
    }
    for name, call in calls.items():
        try:
            call()
        except NotImplementedError as error:
            assert "spans 2 processes of CPU devices" in str(error), error
        else:
            raise AssertionError(f"{name} was not refused")


def works_within_a_process():
    mesh = Mesh(np.array(jax.local_devices()), ("x",))
    a, b = positive_definite(24, seed=jax.process_index()), gaussian((24, 2))
    operands = (
        jax.device_put(a, NamedSharding(mesh, ROWS)),
        jax.device_put(b, NamedSharding(mesh, P())),
    )
    for _ in range(3):
        assert_solves(a, solve(*operands), b)
        assert_solves(a, jax.jit(lambda a, b: potrs(a, b, 3, mesh, ROWS))(*operands), b)


# --- GPU --------------------------------------------------------------------------------------


def solves():
    mesh = all_devices()
    for dtype, n, nrhs in (
        ("float64", 3, 1),
        ("float64", 96, 1),
        ("float64", 577, 5),
        ("float64", 1000, 200),
        ("complex128", 96, 5),
        ("complex128", 501, 200),
        ("float32", 96, 1),
        ("float32", 1001, 5),
        ("float32", 333, 200),
    ):
        a, b = positive_definite(n, dtype), gaussian((n, nrhs), dtype)
        operands = on_mesh(a, mesh, "x", None), on_mesh(b, mesh)
        for _ in range(3):  # Only the first one keeps the ranks in step.
            assert_solves(a, solve(*operands), b)
        print(f"{dtype} n={n} nrhs={nrhs}", flush=True)


def programs():
    """Failure, two solves in one program, a loop, and devices in another order."""
    mesh = all_devices()
    a, b = positive_definite(48), gaussian((48, 2))
    good, bad, rhs = on_mesh(a, mesh, "x", None), on_mesh(-a, mesh, "x", None), on_mesh(b, mesh)

    @jax.jit
    def two(bad, good, b):
        return solve(bad, b, return_info=True), solve(good, b, return_info=True)

    for _ in range(3):
        failed, fine = two(bad, good, rhs)
        assert failed[1] == 1 and np.isnan(failed[0]).all()
        assert fine[1] == 0
        assert_solves(a, fine[0], b)

    many = on_mesh(gaussian((48, 200)), mesh)
    x, info = solve(bad, many, return_info=True)
    assert info == 1 and np.isnan(x).all()

    loop = jax.jit(lambda a, b: jax.lax.fori_loop(0, 4, lambda _, x: solve(a, x), b))
    expected = b
    for _ in range(4):
        expected = np.linalg.solve(a, expected)
    np.testing.assert_allclose(loop(good, rhs), expected, rtol=1e-9)

    backwards = Mesh(np.array(jax.devices()[::-1]), ("x",))
    assert_solves(a, solve(on_mesh(a, backwards, "x", None), on_mesh(b, backwards)), b)
    assert_solves(a, solve(good, rhs), b)


def fault():
    """One rank fails; all return an error within the time limit, and the next call works."""
    mesh = all_devices()
    limit = float(os.environ["JAXMG_TIMEOUT_SECONDS"])
    a, b = positive_definite(48), gaussian((48, 2))
    operands = on_mesh(a, mesh, "x", None), on_mesh(b, mesh)
    run = jax.jit(lambda a, b: solve(a, b, tile=2))
    assert_solves(a, run(*operands), b)
    for exchange in (1, 9):
        os.environ["JAXMG_INJECT_FAULT"] = f"{jax.process_count() - 1}:{exchange}"
        began = time.monotonic()
        message = error_of(lambda: run(*operands))
        print(f"after {time.monotonic() - began:.1f} s: {message}", flush=True)
        assert time.monotonic() - began < limit + 10
        del os.environ["JAXMG_INJECT_FAULT"]
        assert_solves(a, run(*operands), b)


def error_of(call):
    try:
        jax.block_until_ready(call())
    except JaxRuntimeError as error:
        return str(error)
    raise AssertionError("the call returned no error")


def timings():
    mesh = all_devices()
    for n in (16384, 32768):
        a, b = smooth_kernel(n, "float64", mesh), on_mesh(np.ones((n, 1)), mesh)
        run = jax.jit(solve)
        x = jax.block_until_ready(run(a, b))
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            jax.block_until_ready(run(a, b))
            seconds.append(time.perf_counter() - began)
        # No row of A has a sum above 90.
        error = jnp.linalg.norm(a @ x - b) / (90 * jnp.linalg.norm(x))
        if jax.process_index() == 0:
            print(
                f"TIMING {jax.process_count()} processes, n = {n}, float64: median "
                f"{np.median(seconds):.4f} s, least {min(seconds):.4f} s, "
                f"{n**3 / 3 / np.median(seconds) / 1e12:.1f} TFLOP/s, residual {error:.1e}",
                flush=True,
            )
        assert error < 1e-14 * n
        del a, b, x


TASKS = {
    "cpu": (refused_over_processes, works_within_a_process),
    "gpu": (solves, programs),
    "fault": (fault,),
    "timings": (timings,),
}


def main(task, port, processes, process):
    local = {} if task == "cpu" else {"local_device_ids": [int(process)]}
    if task == "cpu":
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", int(processes), int(process), **local)
    try:
        for part in TASKS[task]:
            part()
            print(f"{part.__name__} is done", flush=True)
        print("fine", flush=True)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # An orderly end would wait for the others, who may wait for this one.


if __name__ == "__main__":
    main(*sys.argv[1:])
