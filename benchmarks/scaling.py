"""Modelled times on many GPUs, by the planner's cost model: nothing is measured.

    python benchmarks/scaling.py              # a table
    python benchmarks/scaling.py scaling.svg  # and a plot

The documentation contains the table and the plot of the current model.
"""

import io
import sys
from pathlib import Path
from typing import NamedTuple

import jaxmg
import numpy as np
from jaxmg._native import plans

DTYPE = np.dtype("float64")
GPUS = [2**k for k in range(11)]
PER_HOST = 8
MEMORY = 135e9  # bytes of a GPU that JAX may use, of 141 GB

# Routine names of the cost model, and the orders in the table.
ROUTINES = {
    "potrs": ("posv", (32768, 131072, 524288)),
    "syevd": ("syevd", (16384, 65536, 131072)),
}


class Measured(NamedTuple):
    """A time of benchmarks/results, and the arguments of its plan."""

    title: str
    step: str
    n: int
    gpus: int
    seconds: float
    count: int = 1  # right-hand sides, eigenvectors or singular vectors
    dtype: str = "float64"
    backend: str = "tiled"

    def modelled(self) -> float:
        options = dict(ranks=self.gpus, backend=self.backend, one_rank_up_to=0)
        if self.step == "geqrf":
            options["m"] = self.n
        return plans.plan(self.step, self.n, self.count, np.dtype(self.dtype), **options).seconds


# The newest medians: on H200, but on H100 where said. Of syevd on H100: sums of its stages.
MEASURED = (
    Measured("potrs", "posv", 1024, 4, 0.0017),
    Measured("potrs", "posv", 4096, 4, 0.0047),
    Measured("potrs", "posv", 16384, 4, 0.0204),
    Measured("potrs", "posv", 32768, 4, 0.0890),
    Measured("potrs", "posv", 65536, 4, 0.558),
    Measured("potrs", "posv", 131072, 4, 3.53),
    Measured("potrs, complex128", "posv", 32768, 4, 0.265, dtype="complex128"),
    Measured("potrs", "posv", 32768, 1, 0.237),
    Measured("cho_solve, H100", "potrs", 65536, 4, 0.0071),
    Measured("gesv", "gesv", 16384, 4, 0.0763),
    Measured("gesv", "gesv", 32768, 4, 0.244),
    Measured("gesv", "gesv", 65536, 4, 1.21),
    Measured("geqrf", "geqrf", 16384, 4, 0.108),
    Measured("geqrf", "geqrf", 32768, 4, 0.417),
    Measured("geqrf", "geqrf", 65536, 4, 2.37),
    Measured("gesvd, condition 1e8", "gesvd", 8192, 4, 0.487, 8192),
    Measured("gesvd, condition 1e8", "gesvd", 16384, 4, 1.42, 16384),
    Measured("syevd, H100", "syevd", 16384, 1, 0.922, 16384),
    Measured("syevd, H100", "syevd", 8192, 4, 0.133, 8192),
    Measured("syevd", "syevd", 16384, 4, 0.393, 16384),
    Measured("syevd", "syevd", 32768, 4, 2.02, 32768),
    Measured("eigenvalues alone", "syevd", 16384, 4, 0.239, 0),
    Measured("eigenvalues alone", "syevd", 32768, 4, 0.829, 0),
    Measured("potrs of cuSOLVERMp", "posv", 16384, 4, 0.0448, backend="cusolvermp"),
    Measured("potrs of cuSOLVERMp", "posv", 32768, 4, 0.141, backend="cusolvermp"),
    Measured("potrs of cuSOLVERMp", "posv", 65536, 4, 0.716, backend="cusolvermp"),
    Measured("gesv of cuSOLVERMp", "gesv", 16384, 4, 0.250, backend="cusolvermp"),
    Measured("gesv of cuSOLVERMp", "gesv", 32768, 4, 0.724, backend="cusolvermp"),
)


class Point(NamedTuple):
    gpus: int
    columns: float  # seconds of this library's layout
    grid: float  # seconds of a two-dimensional grid


def points(routine: str, n: int, per_host: int = PER_HOST) -> list[Point]:
    """Return the expected times for all numbers of GPUs on which the call fits in memory."""
    found = []
    for gpus in GPUS:
        hosts = max(1, gpus // per_host)
        plan = jaxmg.plan(routine, (n, n), DTYPE, gpus, hosts=hosts, platform="gpu")
        if plan.total_bytes > MEMORY:
            continue
        step, count = ROUTINES[routine][0], n if routine == "syevd" else 1
        options = dict(ranks=gpus, hosts=hosts, backend="cusolvermp")
        grid = plans.plan(step, n, count, DTYPE, **options).seconds
        found.append(Point(gpus, plan.seconds, grid))
    return found


def table() -> str:
    """Return the best number of GPUs for each layout, as a Markdown table."""
    lines = [
        "| routine | N | GPUs of a host | columns: fewest seconds | on GPUs "
        "| grid: fewest seconds | on GPUs | grid is faster from |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for routine, (_, orders) in ROUTINES.items():
        for n in orders:
            for per_host in (8, 64):
                found = points(routine, n, per_host)
                columns = min(found, key=lambda point: point.columns)
                grid = min(found, key=lambda point: point.grid)
                overtaken = [point.gpus for point in found if point.grid < point.columns]
                lines.append(
                    f"| {routine} | {n} | {per_host} | {columns.columns:.2g} | {columns.gpus} "
                    f"| {grid.grid:.2g} | {grid.gpus} | {min(overtaken, default='')} |"
                )
    return "\n".join(lines)


def draw():
    """Return the plot as a figure of Matplotlib."""
    from matplotlib import pyplot

    figure, all_axes = pyplot.subplots(1, len(ROUTINES), figsize=(10, 4.6))
    for axes, (routine, (_, orders)) in zip(all_axes, ROUTINES.items(), strict=True):
        for color, n in enumerate(orders):
            found, style = points(routine, n), {"color": f"C{color}"}
            gpus = [point.gpus for point in found]
            axes.plot(gpus, [point.columns for point in found], "-", label=f"N = {n}", **style)
            axes.plot(gpus, [point.grid for point in found], "--", **style)
            for measured in MEASURED:
                name = measured.title.removesuffix(", H100")
                if (name, measured.n) == (routine, n):
                    axes.plot(measured.gpus, measured.seconds, "o", **style)
        axes.set(xscale="log", yscale="log", xlabel="GPUs", ylabel="seconds", title=routine)
        axes.set_xticks(GPUS[::2], [str(gpus) for gpus in GPUS[::2]])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(
        "MODELLED, float64, hosts of 8 GPUs; marks: measured on H200 (syevd on one GPU: H100)\n"
        "solid: tile columns (this library), dashed: two-dimensional grid (cuSOLVERMp)",
        fontsize=10,
    )
    figure.tight_layout()
    return figure


def plot() -> str:
    """Return the plot as SVG."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    # Equal models must give equal files.
    settings = {"svg.fonttype": "none", "svg.hashsalt": "jaxmg"}
    with matplotlib.rc_context(settings):
        figure, svg = draw(), io.StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        pyplot.close(figure)
    return svg.getvalue()


if __name__ == "__main__":
    print(table())
    for name in sys.argv[1:]:
        Path(name).write_text(plot())
