"""A rank that fails or does not arrive: all ranks return errors, and the next call works."""

import re
import time

import jax
import numpy as np
import pytest
from jax.errors import JaxRuntimeError
from jaxmg import cyclic_1d, linalg
from jaxmg._native import ffi
from systems import ROWS, assert_solves, gaussian, positive_definite, put

N = 24
A = positive_definite(N)
PROMPTLY = 30  # Seconds; far below the timeout of conftest.py.


@pytest.fixture(params=[2, 3, 4, 8], ids="P={}".format)
def several(request):
    return request.param


def errors_of(call):
    """Return the error messages: one per rank, or a single one that JAX raises for all ranks."""
    try:
        shards = sorted(call().addressable_shards, key=lambda shard: shard.device.id)
    except JaxRuntimeError as error:
        return [str(error)]
    messages = []
    for shard in shards:
        with pytest.raises(JaxRuntimeError) as caught:
            shard.data.block_until_ready()
        messages.append(str(caught.value))
    return messages


def assert_tells(messages, faulty):
    for rank, message in enumerate(messages):
        assert "injected fault" in message
        if len(messages) > 1 and rank != faulty:
            assert f"rank {faulty} failed" in message


@pytest.mark.parametrize("nrhs", [1, 70], ids=["few", "many"])
def test_every_rank_returns_an_error_and_the_next_call_works(make_mesh, monkeypatch, several, nrhs):
    mesh = make_mesh(several)
    b = gaussian((N, nrhs))
    operands = put(A, mesh, "x", None), put(b, mesh)
    solve = jax.jit(lambda a, b: linalg.solve(a, b, assume_a="pos", tile=2))
    assert_solves(A, solve(*operands), b)
    for faulty, exchange in ((0, 1), (several - 1, 1), (1, 2), (0, 5), (several - 1, 12)):
        monkeypatch.setenv("JAXMG_INJECT_FAULT", f"{faulty}:{exchange}")
        began = time.monotonic()
        messages = errors_of(lambda: solve(*operands))
        assert time.monotonic() - began < PROMPTLY
        assert_tells(messages, faulty)
        monkeypatch.delenv("JAXMG_INJECT_FAULT")
        assert_solves(A, solve(*operands), b)


def test_a_fault_while_rows_are_dealt(make_mesh, monkeypatch, several):
    mesh = make_mesh(several)
    a = put(A, mesh, "x", None)
    expected = np.asarray(cyclic_1d(a, 1, mesh, ROWS))
    for faulty in range(several):
        monkeypatch.setenv("JAXMG_INJECT_FAULT", f"{faulty}:1")
        assert_tells(errors_of(lambda: cyclic_1d(a, 1, mesh, ROWS)), faulty)
        monkeypatch.delenv("JAXMG_INJECT_FAULT")
        np.testing.assert_array_equal(cyclic_1d(a, 1, mesh, ROWS), expected)


def test_a_fault_in_a_loop_ends_it(make_mesh, monkeypatch):
    mesh = make_mesh(2)
    b = gaussian((N, 2))
    operands = put(A, mesh, "x", None), put(b, mesh)

    @jax.jit
    def loop(a, b):
        body = lambda _, x: linalg.solve(a, x, assume_a="pos", tile=3)  # noqa: E731
        return jax.lax.fori_loop(0, 3, body, b)

    monkeypatch.setenv("JAXMG_INJECT_FAULT", "1:3")
    assert_tells(errors_of(lambda: loop(*operands)), 1)
    monkeypatch.delenv("JAXMG_INJECT_FAULT")
    expected = b
    for _ in range(3):
        expected = np.linalg.solve(A, expected)
    np.testing.assert_allclose(loop(*operands), expected, rtol=1e-10)


def test_a_fault_outside_the_call_is_not_injected(make_mesh, monkeypatch):
    """There is no rank 7, and no call makes that many exchanges."""
    mesh = make_mesh(2)
    b = gaussian((N,))
    for fault in ("7:1", "1:100000", "nonsense"):
        monkeypatch.setenv("JAXMG_INJECT_FAULT", fault)
        x = linalg.solve(put(A, mesh, "x", None), put(b, mesh), assume_a="pos")
        assert_solves(A, x, b)


def test_ranks_that_do_not_meet_time_out(make_mesh, monkeypatch, several):
    mesh = make_mesh(several)
    b = gaussian((N,))
    operands = put(A, mesh, "x", None), put(b, mesh)
    gather = ffi._roll

    def scattered(ranks, *rest):
        """A roll that gives the last rank an id that no later call has."""
        roll = gather(ranks, *rest)
        last = jax.lax.axis_index(ranks.axes) == several - 1
        return roll.at[0, 4].add(last.astype(roll.dtype) << 30)

    solve = jax.jit(lambda a, b: linalg.solve(a, b, assume_a="pos", tile=2))
    with monkeypatch.context() as patch:
        patch.setenv("JAXMG_TIMEOUT_SECONDS", "1.5")
        patch.setattr(ffi, "_roll", scattered)
        began = time.monotonic()
        messages = errors_of(lambda: solve(*operands))
        assert 1 < time.monotonic() - began < PROMPTLY
    last, others = str(several - 1), ", ".join(map(str, range(several - 1)))
    for message in messages:
        late = re.search(r"rank\(s\) ([\d, ]+) of (\d+) did not arrive within 1500 ms", message)
        assert late and late[1] in (last, others) and late[2] == str(several)
        assert "JAXMG_TIMEOUT_SECONDS" in message
    again = jax.jit(lambda a, b: linalg.solve(a, b, assume_a="pos", tile=2))
    assert_solves(A, again(*operands), b)
