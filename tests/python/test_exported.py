"""Exported, serialised, cached and ahead-of-time compiled programs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxmg
import numpy as np
import pytest
from jax.experimental import serialize_executable
from jaxmg import linalg
from systems import ROWS, assert_solves, gaussian, positive_definite, put, set_mesh

WORKER = Path(__file__).parent / "exported_worker.py"


def work(task, path, *arguments):
    """Run a task of the worker, in a process with two CPU devices."""
    result = subprocess.run(
        [sys.executable, WORKER, task, path, *arguments],
        env={
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0 and "fine" in result.stdout, result.stderr


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    pytest.importorskip("flatbuffers", reason="jax.export serialises with flatbuffers")
    path = tmp_path_factory.mktemp("exported") / "program"
    work("export", path)
    return path


def test_an_exported_program_runs_in_a_fresh_process(exported):
    work("run_exported", exported)


def test_a_failure_to_load_on_the_first_call_is_reported(tmp_path):
    pytest.importorskip("flatbuffers", reason="jax.export serialises with flatbuffers")
    work("export", tmp_path / "program", "cpu", "one_call")
    work("run_exported_without_blas", tmp_path / "program")


def test_programs_are_exported_for_gpus_without_one(tmp_path):
    pytest.importorskip("flatbuffers", reason="jax.export serialises with flatbuffers")
    work("export", tmp_path / "program", "cuda")


def test_a_serialised_executable_runs_in_a_fresh_process(tmp_path):
    compiled = jax.jit(jnp.sin).lower(1.0).compile()
    try:
        serialize_executable.deserialize_and_load(*serialize_executable.serialize(compiled))
    except jax.errors.JaxRuntimeError as error:
        pytest.skip(f"this JAX cannot load an executable of jnp either: {error}")
    work("serialize", tmp_path / "program")
    work("run_serialized", tmp_path / "program")


def test_the_compilation_cache_does_not_depend_on_the_order_of_calls(tmp_path):
    def names():
        return {path.name for path in tmp_path.iterdir() if not path.name.endswith("-atime")}

    work("cache", tmp_path, *"01234")
    before = names()
    assert sum("solve" in name for name in before) == 2
    work("cache", tmp_path, *"43210")
    assert names() == before


def test_a_program_compiled_ahead_of_time(make_mesh):
    mesh = make_mesh(4)
    a, b = put(positive_definite(8), mesh, *ROWS), put(gaussian((8, 2)), mesh)
    solve = jax.jit(lambda a, b: linalg.solve(a, b, assume_a="pos"))
    assert_solves(a, solve.lower(a, b).compile()(a, b), b)


# --- roll calls of one program --------------------------------------------------


def compiled_and_run(function, *operands):
    """Return the number of calls of each handler after XLA's passes, and results of many runs."""
    function = jax.jit(function)
    text = function.lower(*operands).compile().as_text()
    calls = re.findall(r'custom_call_target="jaxmg_(\w+)"', text)
    results = jax.block_until_ready([function(*operands) for _ in range(20)])
    return {name: calls.count(name) for name in set(calls)}, results


@pytest.fixture
def a(make_mesh):
    return put(positive_definite(8), make_mesh(4), *ROWS)


def test_calls_that_differ_in_constants_have_their_own_rolls(a):
    # All b begin with the same number, and all calls come from one cached trace.
    solve = jax.jit(lambda a, b: linalg.solve(a, b, assume_a="pos"))
    rights = [np.ones((8, 2)), np.eye(8, 2), np.tri(8, 2)]
    calls, results = compiled_and_run(lambda a: [solve(a, jnp.asarray(b)) for b in rights], a)
    assert calls == {"roll_call": 3, "posv": 3}
    for result in results:
        for x, b in zip(result, rights, strict=True):
            assert_solves(a, x, b)


def test_calls_that_differ_in_attributes_have_their_own_rolls(a):
    b = gaussian((8, 2))

    def solves(a, b):
        factor = linalg.cho_factor(a)
        both = [linalg.solve_triangular(factor, b, trans=trans) for trans in (0, 2)]
        return linalg.cho_solve(factor, b), *both

    calls, results = compiled_and_run(solves, a, b)
    assert calls == {"roll_call": 4, "potrf": 1, "potrs": 3}
    triangle = np.linalg.cholesky(a)
    for x, forward, backward in results:
        assert_solves(a, x, b)
        assert_solves(triangle, forward, b)
        assert_solves(triangle.T, backward, b)


def test_a_single_device_needs_no_roll():
    a, b = positive_definite(8), gaussian((8, 2))
    calls, results = compiled_and_run(lambda a, b: linalg.solve(a, b, assume_a="pos"), a, b)
    assert calls == {"posv": 1}
    for x in results:
        assert_solves(a, x, b)


def test_calls_that_are_the_same_may_be_one(a):
    b = gaussian((8, 2))

    def twice(a, b):
        return [linalg.solve(a, b, assume_a="pos") for _ in range(2)]

    calls, results = compiled_and_run(twice, a, b)
    assert calls["roll_call"] == 1  # Older XLA merges the roll calls, but not the solves.
    for result in results:
        for x in result:
            assert_solves(a, x, b)


def calls_of_a_batch(mesh, count):
    """Solve a batch of systems; return the number of calls of each handler."""
    a = put(np.stack([positive_definite(8, seed=seed) for seed in range(count)]), mesh, None, *ROWS)
    b = np.ones((8, 2))
    with set_mesh(mesh):
        solve = jax.vmap(lambda a: linalg.solve(a, b, assume_a="pos"))
        calls, results = compiled_and_run(solve, a)
    for x in results:
        for i in range(count):
            assert_solves(a[i], x[i], b)
    return calls


def test_devices_that_share_a_batch_need_no_roll(make_mesh):
    with jaxmg.config.using(one_rank_up_to=8):
        assert calls_of_a_batch(make_mesh(4), 8) == {"posv": 1}


def test_calls_of_a_batch_have_their_own_rolls(make_mesh):
    # One call makes the rolls of the whole batch.
    assert calls_of_a_batch(make_mesh(4), 3)["roll_call"] == 1
