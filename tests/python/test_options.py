"""Options are declared once, and appear in the signature and the docstring of each function."""

import inspect
from dataclasses import fields

import jax.numpy as jnp
import jaxmg
import pytest
from jaxmg._linalg.options import Options
from jaxmg.compat.arguments import Where

NAMES = {
    "cho_factor": "tile backend donate refine workspace_limit",
    "cho_factor_shifted": "tile backend workspace_limit",
    "cho_solve": "backend workspace_limit",
    "cholesky": "return_info tile backend donate workspace_limit",
    "cond": "tile backend workspace_limit",
    "det": "tile backend donate workspace_limit",
    "eigh": "return_info tile backend donate workspace_limit",
    "eigvalsh": "return_info tile backend donate workspace_limit",
    "inv": "return_info tile backend donate workspace_limit",
    "logdet": "tile backend donate workspace_limit",
    "lstsq": "return_info tile backend workspace_limit",
    "lu_factor": "tile backend donate refine workspace_limit",
    "lu_solve": "backend workspace_limit",
    "matrix_rank": "tile backend workspace_limit",
    "norm": "tile backend workspace_limit",
    "pinv": "return_info tile backend workspace_limit",
    "pinvh": "return_info tile backend donate workspace_limit",
    "polar": "return_info tile backend donate workspace_limit",
    "qr": "tile backend donate workspace_limit",
    "qr_factor": "tile backend workspace_limit",
    "slogdet": "tile backend donate workspace_limit",
    "solve": "return_info tile backend donate refine workspace_limit",
    "solve_triangular": "tile backend workspace_limit",
    "sqrtm_h": "return_info tile backend donate workspace_limit",
    "svd": "return_info tile backend donate workspace_limit",
    "svdvals": "return_info tile backend donate workspace_limit",
}
COMPAT = {
    "plan": "tile backend refine workspace_limit",
    "potri": "backend donate",
    "potrs": "backend donate",
    "syevd": "backend donate",
    "potri_shardmap_ctx": "mesh matrix_specs in_specs axis_name backend",
    "potrs_shardmap_ctx": "mesh matrix_specs in_specs axis_name backend",
    "syevd_shardmap_ctx": "mesh matrix_specs in_specs axis_name backend",
}
FUNCTIONS = {name: getattr(jaxmg.linalg, name) for name in NAMES}
FUNCTIONS |= {name: getattr(jaxmg, name) for name in COMPAT}
OPTIONS = {name: names.split() for name, names in (NAMES | COMPAT).items()}


def test_all_functions_of_linalg_are_here():
    functions = {n for n in jaxmg.linalg.__all__ if inspect.isfunction(getattr(jaxmg.linalg, n))}
    assert functions == set(NAMES)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_signature_names_every_option(name):
    parameters = inspect.signature(FUNCTIONS[name]).parameters
    record = Where if name.endswith("_ctx") else Options
    shared = {one.name: one.default for one in (*fields(record), *fields(Options))}
    own = [one for one in parameters if one in shared]
    if name in ("potri", "potrs", "syevd", "plan"):  # These have other arguments with such names.
        own = [one for one in own if one not in ("mesh", "in_specs", "matrix_specs")]
    assert own == OPTIONS[name]
    for one in own:
        assert parameters[one].default == shared[one]
        assert parameters[one].kind is inspect.Parameter.KEYWORD_ONLY
    assert not {"options", "where"} & set(parameters)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_docstring_describes_every_option_once(name):
    lines = inspect.getdoc(FUNCTIONS[name]).splitlines()
    for option in OPTIONS[name]:
        assert sum(line.startswith(f"{option} : ") for line in lines) == 1
    assert not {"{options}", "{where}"} & {line.strip() for line in lines}
    others = {one.name for one in fields(Options)} - set(OPTIONS[name])
    assert not [line for line in lines if line.partition(" : ")[0] in others and " : " in line]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_other_keywords_are_refused(name):
    arguments = {"plan": ("potrs", (4, 4), "float32", 1)}.get(name, (jnp.eye(4), jnp.ones(4)))
    required = [
        one
        for one in inspect.signature(FUNCTIONS[name]).parameters.values()
        if one.default is one.empty
    ]
    with pytest.raises(TypeError, match=rf"{name}\(\) got an unexpected keyword argument"):
        FUNCTIONS[name](*arguments[: len(required)], nonsense=1)


def test_errors_of_options():
    with pytest.raises(ValueError, match="tile must be at least 1, got 0"):
        jaxmg.linalg.cholesky(jnp.eye(4), tile=0)
    with pytest.raises(ValueError, match="backend must be one of"):
        jaxmg.potrs(jnp.eye(4), jnp.ones(4), backend="other")
