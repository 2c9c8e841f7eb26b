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
# Medians of benchmarks/results, on H200: (routine, N, GPUs) -> seconds.
MEASURED = {
    ("potrs", 32768, 1): 0.237,
    ("potrs", 32768, 4): 0.102,
    ("potrs", 131072, 4): 3.53,
    ("syevd", 16384, 1): 1.20,
}


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
            for (name, order, count), seconds in MEASURED.items():
                if (name, order) == (routine, n):
                    axes.plot(count, seconds, "o", **style)
        axes.set(xscale="log", yscale="log", xlabel="GPUs", ylabel="seconds", title=routine)
        axes.set_xticks(GPUS[::2], [str(gpus) for gpus in GPUS[::2]])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(
        "MODELLED, float64, hosts of 8 GPUs; marks: measured on H200\n"
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
