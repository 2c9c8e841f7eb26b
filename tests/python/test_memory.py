"""Workspace if memory is short: plans that fit, in order of preference."""

import functools

import numpy as np
import pytest
from jaxmg._native import plans
from jaxmg._planning import memory as planning

N, RANKS = 65536, 4


def plan_for(limit, routine="posv", n=N, nrhs=1):
    return plans.plan(
        routine,
        n,
        nrhs,
        np.dtype(np.float64),
        ranks=RANKS,
        tile=0,
        platform="gpu",
        processes=1,
        workspace_limit=limit,
    )


def blocking(plan):
    fields = plan.fields()
    names = ("kept", "half_bandwidth", "columns", "diamonds")
    return tuple(int(fields[name]) for name in names)


def fitted(monkeypatch, memory, plan_for=plan_for):
    monkeypatch.setattr(planning, "_memory", lambda platform: memory)
    return planning.fitted(plan_for, "gpu")


@pytest.fixture
def preferred():
    return plan_for(0)


@pytest.mark.parametrize("memory", [None, 10**12])
def test_plenty_of_memory_changes_nothing(monkeypatch, preferred, memory):
    assert fitted(monkeypatch, memory) == preferred


@pytest.mark.parametrize("shards", [1.2, 1.3, 2.2, 2.3])
def test_workspace_shrinks_to_what_is_left(monkeypatch, preferred, shards):
    memory = shards * preferred.shard_bytes
    plan = fitted(monkeypatch, memory)
    assert plan.workspace_bytes < preferred.workspace_bytes
    copies = 1 if shards < 2 else 2
    assert copies * (plan.shard_bytes + plan.rhs_bytes) + plan.workspace_bytes <= memory


def test_eigenvectors_share_their_reflectors_first(monkeypatch):
    plan_syevd = functools.partial(plan_for, routine="syevd", nrhs=N)
    preferred = plan_syevd(0)
    kept, half_bandwidth, columns, diamonds = blocking(preferred)
    assert kept == half_bandwidth
    needed = preferred.workspace_bytes + 2 * (preferred.shard_bytes + preferred.rhs_bytes)
    assert fitted(monkeypatch, 1.03 * needed, plan_syevd) == preferred
    plan = fitted(monkeypatch, needed, plan_syevd)
    assert blocking(plan) == (half_bandwidth // RANKS, half_bandwidth, columns, diamonds)


def test_eigenvectors_of_order_131072_fit_on_four_gpus(monkeypatch):
    n, memory = 131072, 135e9  # what JAX may use of an H200
    plan_syevd = functools.partial(plan_for, routine="syevd", n=n, nrhs=n)
    plan = fitted(monkeypatch, memory, plan_syevd)
    assert plan.shard_bytes + plan.rhs_bytes + plan.workspace_bytes <= memory
    assert blocking(plan)[2] == n // RANKS  # Even then, each reflector is broadcast at most once.


def test_a_call_that_does_not_fit_is_left_to_jax(monkeypatch, preferred):
    assert fitted(monkeypatch, preferred.shard_bytes) == preferred
