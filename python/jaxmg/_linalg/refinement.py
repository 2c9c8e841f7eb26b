"""The precision of a call with refinement."""

import numpy as np

from jaxmg._config import check_refinement, config
from jaxmg._planning.precision import Precision
from jaxmg._programs.call import Call
from jaxmg._programs.refinement import of_lower_precision
from jaxmg._supported import REFINEMENTS

_REFINED = ("pos", "gen", "sym", "her")
# Iterations for a positive definite matrix of condition up to 1e6 (in TF32, up to 1e4), and for a
# general one. A large random matrix takes 9 with two FP16 numbers, and does not converge in TF32.
_TYPICAL = {"float32": 5, "tf32": 12, "fp16x2": 5}
_TYPICAL_OF_GENERAL = {"float32": 8, "tf32": 20, "fp16x2": 8}
# "auto" requires a refined solve to be expected to take less than this fraction of the full one.
_MARGIN = 0.8


def chosen(asked: str | None, assume_a: str, a, nrhs: int, call: Call) -> Precision | None:
    """Return the precision in which to factor `a`, None if the solution is not refined.

    `asked` is the caller's argument. Raises ValueError if it does not support the call.
    """
    name = config.refine if asked is None else check_refinement(asked)
    reason = why_not(name, assume_a, a.dtype)
    if asked is not None and reason is not None:
        raise ValueError(reason)
    if name == "off" or reason is not None or a.size == 0 or nrhs == 0:
        return None
    if name == "auto":
        return _fastest(assume_a == "pos", a.shape[-1], nrhs, a.dtype, call)
    return Precision(name)


def of_factor(asked: str, assume_a: str, a, call: Call) -> Precision:
    """Return the precision of a factor to keep; "auto" stands for the fastest of `REFINEMENTS`."""
    reason = why_not(check_refinement(asked), assume_a, a.dtype)
    if reason is not None:
        raise ValueError(reason)
    if asked != "auto":
        return Precision(asked)
    expected = _expected(assume_a == "pos", a.shape[-1], 1, a.dtype, call)
    if not expected:
        raise ValueError(f"no refinement supports a matrix of {a.dtype}")
    return Precision(min(expected, key=expected.get))


def why_not(name: str, assume_a: str, dtype) -> str | None:
    """Return why a refinement does not support a call, or None."""
    if name == "off":
        return None
    if assume_a not in _REFINED:
        return f"refine={name!r} supports only assume_a in {_REFINED}, got {assume_a!r}"
    if name == "float32" and np.finfo(dtype).dtype != np.float64:
        return f"refine='float32' requires a matrix of float64 or complex128, got {dtype}"
    return None


def _fastest(positive: bool, n: int, nrhs: int, dtype, call: Call) -> Precision | None:
    full = call.plan("posv" if positive else "gesv", n, nrhs, dtype).seconds
    return fastest(_expected(positive, n, nrhs, dtype, call), full)


def fastest(expected: dict[str, float], full: float) -> Precision | None:
    """Return the precision of the shortest expected time, None if no refinement is faster."""
    name = min(expected, key=expected.get, default=None)
    return Precision(name) if name is not None and expected[name] < _MARGIN * full else None


def _expected(positive: bool, n: int, nrhs: int, dtype, call: Call) -> dict[str, float]:
    plan = of_lower_precision(call).plan
    return expected_seconds(positive, n, nrhs, dtype, call.ranks.platform, plan)


def expected_seconds(
    positive: bool, n: int, nrhs: int, dtype, platform: str, plan
) -> dict[str, float]:
    """Return the expected time of each refinement that suits a matrix."""
    sizes = positive, n, nrhs, dtype, platform, plan
    return {
        name: seconds(Precision(name), positive, steps(Precision(name), *sizes))
        for name in REFINEMENTS
        if why_not(name, "pos" if positive else "gen", dtype) is None
        and (positive or name != "tf32")
    }


def steps(precision: Precision, positive: bool, n: int, nrhs: int, dtype, platform: str, plan):
    """Return the plans of a refined solve.

    Its steps are: factor, solve, multiply by A, scale and round A; and solve in full precision.

    ``plan(routine, n, count, dtype)`` plans a routine.
    """
    factor, solve, full = ("potrf", "potrs", "posv") if positive else ("getrf", "getrs", "gesv")
    low = precision.dtype_for(dtype)
    return (
        plan(factor, n, 1, low, **precision.factor_options(platform)),
        plan(solve, n, nrhs, low),
        plan("hemm", n, nrhs, dtype),
        plan("equilibrate", n, 1, dtype, hermitian=positive),
        plan(full, n, nrhs, dtype),
    )


def seconds(precision: Precision, positive: bool, made) -> float:
    """Return the expected time of a refined solve from its steps."""
    factor, solve, product, equilibrate, _ = (step.seconds for step in made)
    iterations = (_TYPICAL if positive else _TYPICAL_OF_GENERAL)[precision.name]
    # The last residual is a product. The largest elements of rows and of columns of a general A are
    # found before, each in as long as a product takes.
    products = iterations + (1 if positive else 3)
    return equilibrate + factor + iterations * solve + products * product


def workspace_bytes(made) -> int:
    """Return the workspace of a refined solve, the factor of lower precision included."""
    *refined, full = made
    own = made[0].shard_bytes + max(step.workspace_bytes for step in refined)
    return max(own, full.workspace_bytes)
