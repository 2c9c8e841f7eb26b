"""Examples in docstrings and in examples/ run."""

import ast
import doctest
import importlib
import inspect
import re
import sys
from pathlib import Path

import jaxmg
import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

sys.path.insert(0, str(ROOT / "docs" / "generate"))
import outcomes  # noqa: E402

PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in (jaxmg, jaxmg.linalg, jaxmg.utils)
    for name in module.__all__
    if inspect.getmodule(getattr(module, name)) is not getattr(module, name)
}


@pytest.mark.parametrize("name", PUBLIC)
def test_docstrings(name):
    value = PUBLIC[name]
    globs = {**vars(inspect.getmodule(inspect.unwrap(value))), "jaxmg": jaxmg}
    runner = doctest.DocTestRunner()
    for test in doctest.DocTestFinder().find(value, name, module=False, globs=globs):
        assert runner.run(test).failed == 0


def test_functions_have_examples():
    without = {"pad_rows", "unpad_rows", "verify_cyclic", "plot_block_to_cyclic", "cyclic_1d"}
    without |= {"potri_shardmap_ctx"}
    for name, value in PUBLIC.items():
        if inspect.isfunction(value) and name.rpartition(".")[2] not in without:
            assert ">>>" in value.__doc__, name


def test_docstrings_of_the_lineax_solver():
    pytest.importorskip("lineax")
    failed, tested = doctest.testmod(importlib.import_module("jaxmg.lineax"))
    assert failed == 0 and tested


def run(name):
    """Run an example on four devices; return the last line it prints, and its picture."""
    outcome = outcomes.run(f"examples/{name}")
    if outcome.missing:
        pytest.skip(f"could not import {outcome.missing!r}")
    return outcome.output.splitlines()[-1], outcome.picture


def test_gp_likelihood():
    last, _ = run("gp_likelihood.py")
    assert last.startswith("length") and "noise 0.3" in last


# Programs that check their results themselves, with what they require and what they print last.
PROGRAMS = {
    "hartree_fock.py": ((), r"energy -2.86168\d hartree"),
    "vmc.py": ((), r"SR and MinSR: steps differ by"),
    "quench.py": ((), r"fidelity with the exact state at t = 1.0: (0.99|1.0)"),
    "gp_elevation.py": (("matplotlib",), r"error at 200 other places"),
    "tinygp_solver.py": (("tinygp",), r"as tinygp's own solver"),
    "gpjax_posterior.py": (("gpjax",), r"as GPJax's own posterior"),
    "spectral_embedding.py": ((), r"kernel PCA: two components"),
    "bayesian_regression.py": ((), r"noise 0.2\d\d"),
    "demo.py": ((), r"Error at 200 unseen points: 0.0"),
    "first_solve.py": ((), r"True"),
    "muon.py": ((), r"ratio of the losses at the end: 0"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name):
    """The programs draw their results if asked to."""
    required, printed = PROGRAMS[name]
    for module in (*required, "matplotlib"):
        pytest.importorskip(module)
    last, picture = run(name)
    assert re.match(printed, last)
    assert picture[:4] == b"\x89PNG"


def test_all_programs_are_tested():
    elsewhere = {"gp_likelihood.py", "natural_gradient.py"}
    names = {path.name for path in EXAMPLES.glob("*.py")}
    assert names == PROGRAMS.keys() | elsewhere | {"netket_vmc.py"}


def test_titles():
    """The first line of a program's docstring is its title."""
    for path in EXAMPLES.glob("*.py"):
        first = ast.get_docstring(ast.parse(path.read_text())).splitlines()[0]
        assert len(first) <= 96 and first.endswith("."), path


def test_natural_gradient():
    last, _ = run("natural_gradient.py")
    *_, error = last.split()
    assert float(error) < 1e-3
