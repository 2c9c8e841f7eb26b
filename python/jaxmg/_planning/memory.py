"""Keeping a call's workspace to what the devices can hold."""

import jax

from jaxmg._native import plans

# What XLA and its allocator need besides the buffers of a call.
_SPARE = 0.02


def fitted(plan_for, platform: str) -> plans.CallPlan:
    """Return the plan of a call, with less workspace where memory is short.

    `plan_for(workspace_limit)` asks the planner; 0 leaves the choice to it. A call that fits beside
    a copy of its arguments, which XLA makes unless they are donated, is planned to stay so; a
    larger one is planned as if they were donated. If nothing fits, JAX reports it as it reports
    any program that needs too much memory.
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
            except ValueError:  # Less than the least workspace.
                continue
    return plan


def _memory(platform: str) -> int | None:
    """Return the bytes each device may hand out, None where that is not known."""
    if platform != "gpu":
        return None
    limits = [
        (device.memory_stats() or {}).get("bytes_limit")
        for device in jax.local_devices(backend=platform)
    ]
    return min(limits) if limits and None not in limits else None
