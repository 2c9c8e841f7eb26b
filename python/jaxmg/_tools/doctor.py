"""Diagnosis of a machine and its installation: ``python -m jaxmg doctor``.

Checks that might crash or hang run in child processes (see `probes`). A child writes each finding
to a file at once; therefore findings survive a crash or a timeout.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from jaxmg._config import check_variable
from jaxmg._version import __version__

OK, WARNING, PROBLEM = "ok", "warning", "problem"

_OLDEST_PYTHON = (3, 10)
_OLDEST_JAX = (0, 6, 2)
_DEVICES_PER_PROCESS = 2  # of a CPU
_GRACE = 5.0  # seconds that processes may continue after one of them has failed
_VARIABLES = ("JAXMG_", "JAX_", "XLA_", "NCCL_", "CUDA_", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class Finding:
    """One line of the report; `advice` says how to solve a problem."""

    state: str
    text: str
    advice: str = ""


class Child:
    """A probe in a child process, killed at the end of the ``with`` block if still running."""

    def __init__(self, folder: Path, limit: float, probe: str, *arguments, **environment):
        self._folder = Path(tempfile.mkdtemp(dir=folder))
        self._log = self._folder / "log"
        self._limit = limit
        self._stopped = False
        environment = {
            # The rendezvous must time out, and name the missing ranks, before this check does.
            "JAXMG_TIMEOUT_SECONDS": f"{limit / 2:g}",
            **os.environ,
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # Others may be using the GPUs.
            **environment,
        }
        command = [sys.executable, "-m", "jaxmg._tools.probes", str(self._folder), probe]
        with self._log.open("w") as out:
            self._process = subprocess.Popen(
                [*command, *map(str, arguments)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_) -> None:
        self._stopped = self.poll() is None
        if self._stopped:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def poll(self) -> int | None:
        """Return the exit status, None while the probe runs."""
        return self._process.poll()

    def findings(self) -> list[Finding]:
        """Return the findings of the probe, and a problem if it crashed or timed out."""
        path = self._folder / "findings"
        text = path.read_text() if path.exists() else ""
        whole = text.rpartition("\n")[0].splitlines()  # The last line may be incomplete.
        found = [Finding(*json.loads(line)) for line in whole]
        code = self._process.returncode
        if self._stopped:
            how = f"was stopped while still running; the time limit is {self._limit:g} s"
        elif code and not any(finding.state == PROBLEM for finding in found):
            name = f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
            how = f"ended with {name}"
        else:
            return found
        said = self._log.read_text(errors="replace").splitlines()[-8:]
        advice = "\n".join(["Its last output was:", *said]) if said else "It printed nothing."
        return [*found, Finding(PROBLEM, f"this check {how}", advice)]

    def fact(self) -> dict:
        """Return the facts that the probe recorded for later probes."""
        path = self._folder / "fact"
        return json.loads(path.read_text()) if path.exists() else {}


def examine(limit: float) -> Iterator[tuple[str, list[Finding]]]:
    """Run all checks in order; yield the title and the findings of each."""
    yield "Python and JAX", list(installation())
    yield "Environment variables", list(environment(os.environ))
    with tempfile.TemporaryDirectory(prefix="jaxmg-doctor-") as name:
        folder = Path(name)
        libraries, _ = _run(folder, limit, "libraries")
        yield "Native libraries", libraries
        devices, fact = _run(folder, limit, "devices")
        yield "Devices", devices
        yield "Backends", _run(folder, limit, "backends")[0]
        if not fact or any(finding.state == PROBLEM for finding in libraries):
            yield "Solves", [Finding(WARNING, "not tried", "Fix the problems above first.")]
            return
        on_cpu = fact["platform"] == "cpu"
        virtual = _virtual_devices(2 * _DEVICES_PER_PROCESS) if on_cpu else {}
        yield "Solves in one process", _run(folder, limit, "solves", **virtual)[0]
        yield "Solves with several processes", _run_together(folder, limit, on_cpu, fact["count"])


def _run(folder: Path, limit: float, probe: str, **environment) -> tuple[list[Finding], dict]:
    with Child(folder, limit, probe, **environment) as child:
        _wait_for([child], limit)
    return child.findings(), child.fact()


def _wait_for(children: list[Child], limit: float) -> None:
    deadline = time.monotonic() + limit
    while None in (states := [child.poll() for child in children]):
        if any(states):
            deadline = min(deadline, time.monotonic() + _GRACE)  # The others may be waiting for it.
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


def _run_together(folder: Path, limit: float, on_cpu: bool, count: int) -> list[Finding]:
    """Solve with several processes: one for each GPU, or two on a CPU."""
    environment = {}
    if on_cpu:
        count = 2
        environment = _virtual_devices(_DEVICES_PER_PROCESS)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    with contextlib.ExitStack() as stack:
        children = [
            stack.enter_context(
                Child(folder, limit, "member", port, count, number, int(on_cpu), **environment)
            )
            for number in range(count)
        ]
        _wait_for(children, limit)
    first, *others = [child.findings() for child in children]
    return first + [
        Finding(finding.state, f"process {number}: {finding.text}", finding.advice)
        for number, findings in enumerate(others, 1)
        for finding in findings
        if finding.state == PROBLEM  # The other processes' OK findings repeat process 0.
    ]


def _virtual_devices(count: int) -> dict[str, str]:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
    return {"XLA_FLAGS": flags.strip(), "JAX_NUM_CPU_DEVICES": "-1"}


# --- checks in this process -------------------------------------------------------------------


def installation(version_of=metadata.version) -> Iterator[Finding]:
    """Check the releases of Python and JAX."""
    python = f"Python {'.'.join(map(str, sys.version_info[:3]))}"
    if sys.version_info >= _OLDEST_PYTHON:
        yield Finding(OK, python)
    else:
        yield Finding(PROBLEM, python, "jaxmg needs Python 3.10 or newer.")
    jax, jaxlib = version_of("jax"), version_of("jaxlib")
    if tuple(int(part) for part in re.findall(r"\d+", jax)[:3]) >= _OLDEST_JAX:
        yield Finding(OK, f"JAX {jax}, jaxlib {jaxlib}")
    else:
        yield Finding(PROBLEM, f"JAX {jax}, jaxlib {jaxlib}", "jaxmg needs JAX 0.6.2 or newer.")
    for major in (13, 12):
        with contextlib.suppress(metadata.PackageNotFoundError):
            plugin = version_of(f"jax-cuda{major}-plugin")
            if plugin == jaxlib:
                yield Finding(OK, f"JAX's plugin for CUDA {major}, {plugin}")
            else:
                advice = f'pip install -U "jax[cuda{major}]" installs matching releases.'
                text = f"JAX's plugin for CUDA {major} is {plugin}, but jaxlib {jaxlib}"
                yield Finding(WARNING, text, advice)


def environment(variables) -> Iterator[Finding]:
    """Check the environment variables of JAX, jaxmg and NVIDIA's libraries."""
    given = {name: variables[name] for name in sorted(variables) if name.startswith(_VARIABLES)}
    for name, value in given.items():
        state, advice = _judged(name, value)
        yield Finding(state, f"{name}={value}", advice)
    if not given:
        yield Finding(OK, "no relevant variable is set")


def _judged(name: str, value: str) -> tuple[str, str]:
    try:
        check_variable(name, value)
    except ValueError as error:
        return PROBLEM, f"{error}."
    if name == "JAXMG_LIBRARY_DIR" and not Path(value).is_dir():
        return PROBLEM, "There is no such folder. Unset it to use the installed library."
    if name == "JAXMG_TRANSPORT" and value not in ("auto", "nccl"):
        return PROBLEM, "It must be 'auto' or 'nccl'."
    if name == "JAXMG_TRANSPORT" and value == "nccl":
        return WARNING, "All GPUs communicate by NCCL, which is slower. Unset it."
    if name == "JAXMG_INJECT_FAULT":
        return WARNING, "It injects faults into calls, for tests. Unset it."
    if name in ("NCCL_P2P_DISABLE", "NCCL_SHM_DISABLE") and value not in ("", "0"):
        return WARNING, "Processes on one machine then use slower transports. Unset it."
    if name == "XLA_PYTHON_CLIENT_ALLOCATOR" and value == "platform":
        return WARNING, "JAX allocates every buffer from CUDA, which is slow. Unset it."
    if name == "XLA_PYTHON_CLIENT_MEM_FRACTION":
        with contextlib.suppress(ValueError):
            if 0 < float(value) <= 1:
                return OK, ""
        return WARNING, "Set it to the fraction of GPU memory that JAX may use, such as 0.95."
    return OK, ""


# --- the report -------------------------------------------------------------------------------


def run(*, limit: float, as_json: bool) -> int:
    """Run all checks and print the findings; return the exit status."""
    everything = {}
    for title, findings in examine(limit):
        everything[title] = findings
        if not as_json:
            print("\n".join([title, *map(_line, findings), ""]), flush=True)
    counts = {
        state: sum(f.state == state for findings in everything.values() for f in findings)
        for state in (OK, WARNING, PROBLEM)
    }
    if as_json:
        report = {
            "jaxmg": __version__,
            "counts": counts,
            "findings": {
                title: [asdict(finding) for finding in findings]
                for title, findings in everything.items()
            },
        }
        print(json.dumps(report, indent=1))
    else:
        print(f"problems: {counts[PROBLEM]}, warnings: {counts[WARNING]}")
    return 1 if counts[PROBLEM] else 0


def _line(finding: Finding) -> str:
    advice = finding.advice.replace("\n", "\n" + " " * 13)
    return f"  {finding.state:8} {finding.text}" + (f"\n{' ' * 11}> {advice}" if advice else "")
