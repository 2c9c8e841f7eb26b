"""The examples in the docstrings run."""

import doctest
import importlib

import pytest

MODULES = ("compat", "layout", "linalg", "plan", "utils")


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    module = importlib.import_module(f"jaxmg.{name}")
    failed, _ = doctest.testmod(module, extraglobs={"jaxmg": importlib.import_module("jaxmg")})
    assert failed == 0
