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
