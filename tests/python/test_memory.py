"""Workspace where memory is short: plans that fit, in the order in which callers want them."""

import numpy as np
import pytest
from jaxmg import _memory, _native

N, RANKS = 65536, 4


def plan_for(limit):
    return _native.plan(
        "posv",
        N,
        1,
        np.dtype(np.float64),
        ranks=RANKS,
        tile=0,
        platform="gpu",
        processes=1,
        workspace_limit=limit,
    )


def fitted(monkeypatch, memory):
    monkeypatch.setattr(_memory, "_memory", lambda platform: memory)
    return _memory.fitted(plan_for, "gpu")


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


def test_what_does_not_fit_is_left_to_jax(monkeypatch, preferred):
    assert fitted(monkeypatch, preferred.shard_bytes) == preferred
