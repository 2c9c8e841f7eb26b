"""The modelled times of benchmarks/scaling.py, as a table and a plot."""

import runpy
from pathlib import Path

import plots

_MODEL = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "scaling.py"))


def table() -> str:
    return _MODEL["table"]()


def figure() -> str:
    with plots.settings("scaling"):
        drawn = _MODEL["draw"]()
        return plots.as_figure(drawn, "scaling", "Modelled time against the number of GPUs")


def compared() -> str:
    """Return measured and modelled times, with the largest difference."""
    lines = ["| | N | GPUs | measured, s | modelled, s |", "|---|---|---|---|---|"]
    differences = {}
    for measured in _MODEL["MEASURED"]:
        modelled = measured.modelled()
        differences[measured] = abs(modelled / measured.seconds - 1)
        lines.append(
            f"| {measured.title} | {measured.n} | {measured.gpus} | {measured.seconds:.3g} "
            f"| {modelled:.3g} |"
        )
    largest = max(differences, key=differences.get)
    return "\n".join(lines) + (
        f"\n\nThe largest difference is {100 * differences[largest]:.0f} %, for {largest.title} "
        f"with N = {largest.n}."
    )
