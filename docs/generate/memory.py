"""The largest matrices that fit, by the planner. Nothing is measured."""

import functools

import jaxmg

MEMORIES = {"40 GB": 40, "80 GB": 80, "141 GB": 141}
FRACTION = 0.95  # of a GPU's memory that JAX may use
DEVICES = (1, 2, 4, 8, 16)
STEP = 1024  # orders are multiples of it

# Title -> routine, arguments of jaxmg.plan.
CALLS = {
    'solve(a, b, assume_a="pos")': ("potrs", {}),
    "solve(a, b)": ("gesv", {}),
    'inv(a, assume_a="pos")': ("potri", {}),
    "eigvalsh(a)": ("syevd", {"vectors": 0}),
    "eigh(a)": ("syevd", {}),
    "svd(a)": ("gesvd", {}),
}


def fits(routine: str, n: int, devices: int, limit: float, **options) -> bool:
    """Return whether a float64 call fits in `limit` bytes of each GPU.

    If need be with less workspace, as calls decide, too: jaxmg._planning.memory.
    """

    def plan(**more):
        asked = routine, (n, n), "float64", devices
        return jaxmg.plan(*asked, platform="gpu", **options, **more)

    try:
        preferred = plan()
        if preferred.total_bytes <= limit:
            return True
        room = int(limit * 0.98) - preferred.shard_bytes - preferred.rhs_bytes
        return room > 0 and plan(workspace_limit=room).total_bytes <= limit
    except ValueError:  # No plan has so little workspace, or sizes are too large for BLAS.
        return False


@functools.cache
def order(routine: str, devices: int, limit: float, **options) -> int:
    """Return the largest multiple of STEP for which a float64 call fits in `limit` bytes."""

    def fitting(count):
        return fits(routine, count * STEP, devices, limit, **options)

    low, high = 1, 2
    while fitting(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fitting(middle) else (low, middle)
    return low * STEP


def largest(memory: str) -> str:
    """Return a table of the largest orders on GPUs with a given memory."""
    limit = MEMORIES[memory] * 1e9 * FRACTION
    lines = [
        "| | " + " | ".join(f"{count} GPU{'s' * (count > 1)}" for count in DEVICES) + " |",
        "|---|" + "---|" * len(DEVICES),
    ]
    for title, (routine, options) in CALLS.items():
        orders = (f"{order(routine, count, limit, **options):,}" for count in DEVICES)
        lines.append(f"| `{title}` | " + " | ".join(orders) + " |")
    return "\n".join(lines)
