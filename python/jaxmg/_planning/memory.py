"""Fitting the workspace of a call into device memory."""

import jax

from jaxmg._native import plans

# Fraction of memory that XLA and its allocator need besides the buffers of a call.
_SPARE = 0.02


def fitted(plan_for, platform: str) -> plans.CallPlan:
    """Return the plan of a call, with a smaller workspace if memory is short.

    `plan_for(workspace_limit)` calls the planner; a limit of 0 leaves the choice to it. XLA copies
    arguments unless they are donated. If the call fits beside this copy, its plan leaves room for
    it; a larger call is planned as if its arguments were donated. If no plan fits, JAX raises its
    out-of-memory error.
    """
    plan = plan_for(0)
    memory = _memory(platform)
    if memory is None:
        return plan
    for copies in (2, 1):
        room = int(memory * (1 - _SPARE)) - copies * (plan.shard_bytes + plan.rhs_bytes)
        if plan.workspace_bytes <= room:
            return plan
        if room > 0:
            try:
                return plan_for(room)
            except ValueError:  # Below the minimum workspace.
                continue
    return plan


def _memory(platform: str) -> int | None:
    """Return the memory limit of each device in bytes, None if it is unknown."""
    if platform != "gpu":
        return None
    limits = [
        (device.memory_stats() or {}).get("bytes_limit")
        for device in jax.local_devices(backend=platform)
    ]
    return min(limits) if limits and None not in limits else None
