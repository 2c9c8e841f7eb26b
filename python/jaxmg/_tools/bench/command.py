"""``python -m jaxmg bench``: a routine of this library and its peers on this machine.

The peers are NVIDIA's libraries, as far as `jaxmg.backends` finds them, and JAX's own function on
one device. Each result is checked: a wrong one has no time.
"""

import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

import jaxmg
from jaxmg._tools import usage
from jaxmg._tools.bench import measure
from jaxmg._tools.bench.measure import Problem
from jaxmg._tools.bench.routines import ROUTINES, Routine
from jaxmg._tools.usage import UsageError

_SIZES = {"cpu": (512, 1024, 2048), "gpu": (4096, 8192, 16384)}
_VIRTUAL_DEVICES = "xla_force_host_platform_device_count"


@dataclass(frozen=True)
class Solver:
    """A column of the table: a backend of this library, or JAX's function (without a backend)."""

    name: str
    devices: int
    backend: str | None


@dataclass
class Row:
    """The result of one solver for one order; `reason` says why there is no time."""

    solver: Solver
    n: int
    seconds: float | None = None
    error: float | None = None  # in units of N eps
    reason: str = ""


class Bench:
    """One run of the command."""

    def __init__(self, routine: Routine, dtype: str, devices: int, machine: str):
        self.routine, self.dtype, self.devices, self.machine = routine, dtype, devices, machine
        self.rows: list[Row] = []
        self.roofline: dict[int, float] = {}  # FLOP/s of GEMM, by devices

    def flops(self, n: int) -> float:
        complex_type = np.issubdtype(self.dtype, np.complexfloating)
        return self.routine.operations(n, 1) * (4 if complex_type else 1)

    def rate(self, row: Row) -> float:
        return self.flops(row.n) / row.seconds

    def solvers(self) -> list[Solver]:
        found = [Solver("jaxmg", self.devices, "tiled")]
        planned = self.routine.plan or self.routine.name
        for backend in jaxmg.backends()[1:]:
            if backend.available and planned in backend.routines:
                found.append(Solver(backend.name, self.devices, backend.name))
        return [*found, Solver(f"jax {self.routine.jax}", 1, None)]

    def measure_roofline(self, progress) -> None:
        for devices in sorted({1, self.devices}):
            progress(f"GEMM on {_devices(devices)}")
            self.roofline[devices] = measure.gemm(self.dtype, devices)["flops_per_second"]

    def measure(self, solver: Solver, n: int) -> None:
        row = Row(solver, n)
        self.rows.append(row)
        try:
            if solver.backend is None:
                found = getattr(measure, f"jax_{self.routine.name}")(Problem(n, self.dtype, 1))
            else:
                task = getattr(measure, self.routine.name)
                with jaxmg.config.using(backend=solver.backend):
                    found = task(Problem(n, self.dtype, 1, solver.devices))
        except Exception as error:  # Any error is the outcome of this measurement.
            row.reason = usage.one_line(f"{type(error).__name__}: {error}")
            return
        errors = [found["residual"], found.get("details", {}).get("orthogonality", 0.0)]
        row.error = max(errors) / (n * float(np.finfo(self.dtype).eps))
        if row.error < 1:  # NaN is wrong, too.
            row.seconds = statistics.median(found["samples"])
        else:
            row.reason = f"wrong result: its error is {row.error:.1e} N eps"

    # --- the results --------------------------------------------------------------------------

    def table(self) -> str:
        scale, unit = self._unit()
        rates = ", ".join(
            f"{rate / scale:.3g} {unit} on {_devices(devices)}"
            for devices, rate in self.roofline.items()
        )
        lines = [
            f"{self.routine.title}, {self.dtype}: {self.routine.timed}",
            f"{self.machine}; jaxmg {jaxmg.__version__}, JAX {jax.__version__}",
            f"GEMM: {rates or 'not measured'}",
            "",
            f"{'N':>7}  {'solver':<16} {'devices':>7} {'seconds':>10} {unit:>9} {'of GEMM':>8} "
            f"{'error / N eps':>14}",
        ]
        for row in sorted(self.rows, key=lambda row: row.n):
            head = f"{row.n:7}  {row.solver.name:<16} {row.solver.devices:7}"
            if row.seconds is None:
                lines.append(f"{head} {'':>10} {row.reason}")
                continue
            roofline = self.roofline.get(row.solver.devices)
            share = f"{100 * self.rate(row) / roofline:.0f} %" if roofline else ""
            lines.append(
                f"{head} {row.seconds:10.4g} {self.rate(row) / scale:9.3g} {share:>8} "
                f"{row.error:14.1e}"
            )
        return "\n".join(lines)

    def plot(self, path: Path) -> None:
        from matplotlib.figure import Figure

        scale, unit = self._unit()
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        panel = figure.subplots()
        measured = [row for row in self.rows if row.seconds is not None]
        for i, solver in enumerate(dict.fromkeys(row.solver for row in measured)):
            points = sorted(
                (row.n, self.rate(row) / scale) for row in measured if row.solver == solver
            )
            width = 2.4 if solver.name == "jaxmg" else 1.4
            label = f"{solver.name}, {_devices(solver.devices)}"
            panel.plot(
                *zip(*points, strict=True), marker="osD^v"[i % 5], linewidth=width, label=label
            )
        for devices, rate in self.roofline.items():
            panel.axhline(rate / scale, color="0.35", linestyle="--", linewidth=1)
            panel.annotate(
                f"GEMM on {_devices(devices)}",
                (0.01, rate / scale),
                xycoords=("axes fraction", "data"),
                xytext=(0, 3),
                textcoords="offset points",
                fontsize=8,
                color="0.35",
            )
        orders = sorted({row.n for row in self.rows})
        panel.set_xscale("log", base=2)
        panel.set_xticks(orders, [str(n) for n in orders])
        panel.set(xlabel="N", ylabel=unit, title=f"{self.routine.title}, {self.dtype}")
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
        if measured:
            panel.legend(fontsize=8)
        figure.text(0.995, 0.005, self.machine, ha="right", fontsize=7, color="0.4")
        figure.savefig(path, dpi=130, format="png")

    def _unit(self) -> tuple[float, str]:
        largest = max([*self.roofline.values(), 1.0])
        return (1e12, "TFLOP/s") if largest >= 1e12 else (1e9, "GFLOP/s")


class Progress:
    """A bar on standard error; without a terminal, a line for each step."""

    def __init__(self, steps: int):
        self._steps, self._done = steps, 0
        self._terminal = sys.stderr.isatty()

    def __call__(self, text: str) -> None:
        filled = 24 * self._done // self._steps
        self._done += 1
        if self._terminal:
            line = f"[{'#' * filled}{'.' * (24 - filled)}] {self._done}/{self._steps} {text}"
            print(f"\r{line:<78.78}", end="", file=sys.stderr, flush=True)
        else:
            print(f"{self._done}/{self._steps} {text}", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._terminal:
            print(f"\r{'':78}\r", end="", file=sys.stderr, flush=True)


def run(options) -> int:
    """Measure, print the table and draw the plot; return the exit status."""
    began = time.monotonic()
    usage.check_picture(options.png)
    bench, sizes = _prepared(options)
    solvers = bench.solvers()
    progress = Progress(len({1, bench.devices}) + len(sizes) * len(solvers))
    interrupted = False
    try:
        bench.measure_roofline(progress)
        for n in sizes:
            for solver in solvers:
                progress(f"N={n}, {solver.name} on {_devices(solver.devices)}")
                if time.monotonic() - began < options.time_limit:
                    bench.measure(solver, n)
                else:
                    bench.rows.append(
                        Row(solver, n, reason="not measured: the time limit is reached")
                    )
    except KeyboardInterrupt:
        interrupted = True
    progress.clear()
    print(bench.table())
    if options.png is not None:
        bench.plot(options.png)
        print(f"\nWritten: {options.png}")
    if interrupted:
        return 130
    own = [row for row in bench.rows if row.solver.name == "jaxmg"]
    failed = [row for row in own if row.reason and not row.reason.startswith("not measured")]
    return 1 if failed else 0


def _prepared(options) -> tuple[Bench, tuple[int, ...]]:
    """Return the run for the options of the command, and the orders that it measures."""
    routine = ROUTINES[options.routine]
    jax.config.update("jax_enable_x64", True)
    if options.platform == "cpu":
        jax.config.update("jax_platforms", "cpu")
    if _VIRTUAL_DEVICES not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", options.devices or 4)
    found = usage.devices()
    devices = options.devices or len(found)
    if devices > len(found):
        raise UsageError(f"--devices must be at most {len(found)}, which JAX finds; got {devices}")
    platform = found[0].platform
    if platform not in _SIZES:
        raise UsageError(f"jaxmg runs on CPUs and NVIDIA GPUs, and JAX finds {platform} devices")
    sizes = options.sizes or _SIZES[platform]
    for n in sizes:
        if n % devices:
            raise UsageError(
                f"--sizes must be multiples of the number of devices, {devices}, since JAX shards "
                f"rows evenly; got {n}"
            )
    kind = found[0].device_kind
    machine = f"{devices} x {kind}" if platform == "gpu" else f"{_cores()} as {_devices(devices)}"
    return Bench(routine, options.dtype, devices, machine), tuple(sizes)


def _cores() -> str:
    count = len(os.sched_getaffinity(0))
    return f"{count} CPU core{'s' if count > 1 else ''}"


def _devices(count: int) -> str:
    return f"{count} device{'s' if count > 1 else ''}"
