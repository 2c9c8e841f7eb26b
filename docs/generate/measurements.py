"""Tables and plots of the measurements in benchmarks/results."""

import functools
import json
import re
import textwrap
from pathlib import Path
from typing import NamedTuple

import plots

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"

# The run behind the plot and the numbers of the start page: hardware, title, type.
SHOWN = ("4 x NVIDIA H200", "Cholesky solve", "float64")

# A solver of the benchmarks -> its name on the pages.
_NAMES = {
    "jaxmg cusolvermg": "cuSOLVERMg as backend",
    "jaxmg cusolvermp": "cuSOLVERMp as backend",
    "jax cho_solve": "jax.scipy.linalg.cho_solve",
    "jax inv": "jax.numpy.linalg.inv",
    "jax eigh": "jax.numpy.linalg.eigh",
    "jax eigvalsh": "jax.numpy.linalg.eigvalsh",
    "jax lstsq": "jax.numpy.linalg.lstsq",
    "jax lu_solve": "jax.scipy.linalg.lu_solve",
    "jax polar": "jax.scipy.linalg.polar",
    "jax qr": "jax.numpy.linalg.qr",
    "jax solve": "jax.numpy.linalg.solve",
    "jax svd": "jax.numpy.linalg.svd",
    "jax svdvals": "jax.numpy.linalg.svdvals",
}


class Run(NamedTuple):
    name: str  # of its files
    head: dict

    @property
    def times(self) -> list[dict]:
        return [r for r in self.head["records"] if r["seconds"] and "stages" not in r["details"]]

    @property
    def unit(self) -> tuple[str, float]:
        return ("TFLOP/s", 1e3) if self.head["platform"] == "gpu" else ("GFLOP/s", 1.0)


@functools.cache
def runs() -> tuple[Run, ...]:
    """Return the runs of benchmarks/run.py: GPUs first, most devices first, newest first."""
    found = []
    for path in RESULTS.glob("*.json"):
        head = json.loads(path.read_text())
        if "records" in head and "gemm" in head:
            found.append(Run(path.stem, head))

    def order(run):
        head = run.head
        return (head["platform"] == "gpu", head["hardware"], head["date"])

    return tuple(sorted(found, key=order, reverse=True))


def _devices(count: int, platform: str) -> str:
    kind = "GPU" if platform == "gpu" else "device"
    return f"{count} {kind}{'s' * (count > 1)}"


def _series(record, platform: str) -> str:
    name = _NAMES.get(record["system"], record["system"])
    return f"{name}, {_devices(record['job']['devices'], platform)}"


def _by_series(records, platform: str) -> dict[str, list[dict]]:
    series = {}
    for record in sorted(records, key=lambda r: r["job"]["n"]):
        series.setdefault(_series(record, platform), []).append(record)

    # Ours first, then by decreasing number of devices.
    def order(name):
        return (not name.startswith("jaxmg,"), -series[name][0]["job"]["devices"], name)

    return {name: series[name] for name in sorted(series, key=order)}


# ---- the start page ----


def shown() -> tuple[list[Run], dict[str, list[dict]]]:
    """Return the runs, and the records of jaxmg and of each other solver called by itself."""
    hardware, title, dtype = SHOWN
    chosen = [r for r in runs() if (r.head["hardware"], r.head["title"]) == (hardware, title)]
    if not chosen:
        raise LookupError(f"benchmarks/results has no run of {title!r} on {hardware!r}")
    records = [
        record
        for run in chosen
        for record in run.times
        if record["job"]["dtype"] == dtype
        and record["job"].get("nrhs") in (1, None)
        and not record["system"].startswith("jaxmg ")
    ]
    series = _by_series(records, "gpu")
    return chosen, {name: found for name, found in series.items() if len(found) > 1}


def by_order(found: list[dict]) -> dict[int, float]:
    """Return the seconds of one solver by N; of several runs, the newest counts."""
    # shown() has the newest run first, and sorting by N keeps that order.
    return {record["job"]["n"]: record["seconds"] for record in reversed(found)}


def times() -> str:
    """Return the plot of time against N on four GPUs, beside other solvers."""
    chosen, series = shown()
    with plots.settings("times"):
        figure, axes = plots.pyplot.subplots(figsize=(6.0, 3.7))
        for name, found in series.items():
            seconds = by_order(found)
            ours = name.startswith("jaxmg")
            axes.plot(
                sorted(seconds),
                [seconds[n] for n in sorted(seconds)],
                marker="o",
                markersize=6 if ours else 4,
                linewidth=2.6 if ours else 1.3,
                label=name,
            )
        orders = sorted({r["job"]["n"] for found in series.values() for r in found})
        axes.set(xscale="log", yscale="log", xlabel="N", ylabel="seconds")
        axes.set_xticks(orders, [str(n) for n in orders], rotation=30)
        axes.minorticks_off()
        axes.grid()
        axes.legend(fontsize=9)
        figure.tight_layout()
        head = chosen[0].head
        dates = " and ".join(sorted({run.head["date"][:10] for run in chosen}))
        caption = (
            f"Cholesky factorisation and solve of one right-hand side, {SHOWN[2]}, measured on "
            f"{head['hardware']}, {dates}, JAX {head['jax']}. cuSOLVERMp, cuSOLVERMg and "
            'cuSOLVERDn are called from C++. <a href="performance/">All measurements</a>'
        )
        return plots.as_figure(figure, "times", "Time against N beside other solvers", caption)


def card() -> str:
    """Return the measurements of the start page as a table."""
    chosen, series = shown()
    orders = sorted({r["job"]["n"] for found in series.values() for r in found})
    orders = [n for n in orders if n >= 16384]
    lines = ["| seconds, N = | " + " | ".join(str(n) for n in orders) + " |"]
    lines.append("|---|" + "---|" * len(orders))
    for name, found in series.items():
        seconds = by_order(found)
        cells = (f"{seconds[n]:.3g}" if n in seconds else "" for n in orders)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


# ---- the page of all measurements ----


def _plot(run: Run) -> str:
    """Return the rates of a run against N, with the rate of GEMM, if there are several N."""
    platform = run.head["platform"]
    unit, scale = run.unit
    dtypes = [
        dtype
        for dtype in ("float64", "float32", "complex128", "complex64")
        if len({r["job"]["n"] for r in run.times if r["job"]["dtype"] == dtype}) > 1
    ]
    if not dtypes:
        return ""
    with plots.settings(run.name):
        figure, panels = plots.pyplot.subplots(
            1, len(dtypes), figsize=(8.6, 3.6), squeeze=False, layout="constrained"
        )
        for axes, dtype in zip(panels[0], dtypes, strict=True):
            records = [r for r in run.times if r["job"]["dtype"] == dtype]
            for name, found in _by_series(records, platform).items():
                axes.plot(
                    [r["job"]["n"] for r in found],
                    [r["gflops"] / scale for r in found],
                    marker="o",
                    linewidth=2.4 if name.startswith("jaxmg,") else 1.2,
                    label=name,
                )
            used = {r["job"]["devices"] for r in records}
            for gemm in run.head["gemm"]:
                if gemm["dtype"] == dtype and gemm["devices"] in used:
                    rate = gemm["flops_per_second"] / 1e9 / scale
                    axes.axhline(rate, color=plots._INK, linestyle=":", linewidth=1)
                    note = f"GEMM, {_devices(gemm['devices'], platform)}"
                    axes.annotate(
                        note, (0.01, rate), xycoords=("axes fraction", "data"),
                        fontsize=8, va="bottom",
                    )  # fmt: skip
            orders = sorted({r["job"]["n"] for r in records})
            axes.set(xscale="log", xlabel="N", ylabel=unit, title=dtype)
            axes.set_ylim(bottom=0)
            axes.set_xticks(orders, [str(n) for n in orders])
            axes.minorticks_off()
            axes.grid()
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", fontsize=9)
        return plots.as_figure(figure, run.name, f"Rates of {run.head['title']} against N")


def _gib(count: int | None) -> str:
    return "" if count is None else f"{count / 2**30:.4g}"


def _table(run: Run) -> str:
    unit, scale = run.unit
    platform = run.head["platform"]
    lines = [
        f"| N | type | solver | seconds | planned | {unit} | of GEMM | residual "
        "| peak, GiB | planned, GiB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]

    def order(record):
        job = record["job"]
        return (job["dtype"] != "float64", job["dtype"], job["n"], -job["devices"])

    for record in sorted(run.times, key=order):
        job = record["job"]
        fraction, planned = record["gemm_fraction"], record["details"].get("planned_seconds")
        ours = "**" if record["system"] == "jaxmg" else ""
        rhs = f", {job['nrhs']} right-hand sides" if (job.get("nrhs") or 1) != 1 else ""
        lines.append(
            f"| {job['n']} | {job['dtype']} | {ours}{_series(record, platform)}{ours}{rhs} "
            f"| {record['seconds']:.3g} | {'' if planned is None else format(planned, '.3g')} "
            f"| {record['gflops'] / scale:.3g} "
            f"| {'' if fraction is None else f'{100 * fraction:.0f} %'} "
            f"| {'' if record['residual'] is None else format(record['residual'], '.1e')} "
            f"| {_gib(record['peak_bytes'])} | {_gib(record['planned_bytes'])} |"
        )
    return "\n".join(lines)


def _section(run: Run, title: str) -> str:
    head = run.head
    versions = f"JAX {head['jax']}, jaxmg {head['jaxmg']}"
    if head["driver"] != "none":
        versions += f", driver {head['driver']}"
    return "\n\n".join(
        (
            f"### {title}",
            f"{head['date'][:10]}, {head['hardware']}; {versions}; `{head['command']}`",
            f"{{{{ measurements {run.name} }}}}",
            _table(run),
        )
    )


def _title(run: Run) -> str:
    _, _, what = run.name.split("_", 2)
    return f"{run.head['title']} ({what.replace('_', ' ')}), {run.head['date'][:10]}"


def sections(name: str = "") -> str:
    """Return a section for each run, by hardware; or, with a name, the plot of that run."""
    if name:
        (run,) = (run for run in runs() if run.name == name)
        return _plot(run)
    parts, hardware = [], None
    for run in runs():
        if run.head["hardware"] != hardware:
            hardware = run.head["hardware"]
            parts.append(f"## {hardware}")
        parts.append(_section(run, _title(run)))
    return "\n\n".join(parts)


def others() -> str:
    """Return the tables of other programs than benchmarks/run.py, to unfold, newest first."""
    parts = []
    for path in sorted(RESULTS.glob("*.md"), reverse=True):
        if path.with_suffix(".json").exists() or path.stem.endswith("_accuracy"):
            continue
        title, _, text = path.read_text().partition("\n")
        date, hardware = (
            re.search(f"^- {key}: (.*)", text, re.MULTILINE)[1] for key in ("date", "hardware")
        )
        text = re.sub("^## (.*)", r"**\1**", text.strip(), flags=re.MULTILINE)
        heading = f'??? note "{title.removeprefix("# ")}: {hardware}, {date[:10]}"'
        parts.append(f"{heading}\n\n{textwrap.indent(text, '    ')}")
    return "\n\n".join(parts)


# ---- accuracy ----


def accuracy() -> str:
    """Return the newest table of benchmarks/accuracy.py, with its head."""
    path = max(RESULTS.glob("*_accuracy.md"))
    _, _, text = path.read_text().partition("\n")
    return text.strip().replace("| --- |", "|---|")
