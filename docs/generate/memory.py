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


@functools.cache
def order(routine: str, devices: int, limit: float, **options) -> int:
    """Return the largest multiple of STEP for which a float64 call fits in `limit` bytes."""

    def fits(count):
        n = count * STEP
        try:
            plan = jaxmg.plan(routine, (n, n), "float64", devices, platform="gpu", **options)
        except ValueError:
            return False
        return plan.total_bytes <= limit

    low, high = 1, 2
    while fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
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
