"""The examples run, in the docstrings and on their own."""

import doctest
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

MODULES = (
    "_linalg.cholesky",
    "_linalg.eigen",
    "_planning.backends",
    "compat.cholesky",
    "compat.cyclic",
    "compat.eigen",
    "compat.layout",
    "linalg",
    "plan",
    "utils",
)


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    module = importlib.import_module(f"jaxmg.{name}")
    failed, _ = doctest.testmod(module, extraglobs={"jaxmg": importlib.import_module("jaxmg")})
    assert failed == 0


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
