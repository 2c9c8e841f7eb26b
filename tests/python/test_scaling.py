"""benchmarks/scaling.py, which generates the plot of the documentation."""

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "scaling.py"


@pytest.fixture(scope="module")
def scaling():
    return runpy.run_path(str(SCRIPT))


@pytest.mark.parametrize(("routine", "n"), [("potrs", 131072), ("syevd", 81920)])
def test_only_what_fits_and_where_the_grid_overtakes(scaling, routine, n):
    points = scaling["points"](routine, n)
    gpus = [point.gpus for point in points]
    assert gpus == scaling["GPUS"][-len(gpus) :] and gpus[0] > 1, "one GPU has too little memory"
    faster = [point.grid < point.columns for point in points]
    assert not faster[0] and faster[-1] and faster == sorted(faster)


def test_the_plot_is_labelled_as_modelled(scaling):
    svg = scaling["plot"]()
    assert "<svg" in svg and "MODELLED" in svg
    assert svg == scaling["plot"](), "the same model must make the same plot"


def test_the_model_agrees_with_measurements(scaling):
    for measured in scaling["MEASURED"]:
        assert measured.modelled() == pytest.approx(measured.seconds, rel=0.2), measured
