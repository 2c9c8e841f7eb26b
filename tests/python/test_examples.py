"""Examples in docstrings and in examples/ run."""

import doctest
import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import jaxmg
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

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
    """Run an example on four devices; return the last line it prints."""
    result = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1]


def test_gp_likelihood():
    last = run("gp_likelihood.py")
    assert last.startswith("length") and "noise 0.3" in last


def test_natural_gradient():
    *_, error = run("natural_gradient.py").split()
    assert float(error) < 1e-3
