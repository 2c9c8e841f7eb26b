"""Right-hand sides in the layout of the native code: rows, replicated or distributed.

The native code stores A^T by columns. For a Hermitian A these are columns of conj(A), and
right-hand sides are conjugated rows; for a general A, they are rows.
"""

import functools

from jax.sharding import PartitionSpec

from jaxmg._mesh import programs
from jaxmg._mesh.ranks import Ranks
from jaxmg._native import plans

REPLICATED = PartitionSpec(None, None)


def as_rows(b, *, conjugated=True):
    rows = (b if b.ndim == 2 else b[:, None]).T
    return rows.conj() if conjugated else rows


def as_columns(x, ndim: int, *, conjugated=True):
    x = (x.conj() if conjugated else x).T
    return x if ndim == 2 else x[:, 0]


def distributed(rhs, plan: plans.CallPlan, ranks: Ranks):
    """Return the spec of right-hand sides (rows) that the plan requires, and the padded rows."""
    if not plan.distributed_rhs:
        return REPLICATED, rhs
    return ranks.rows, programs.pad_rows_to(rhs, ranks.padded_rows(rhs.shape[0]))


def solved(native, rhs, *operands, specs, plan: plans.CallPlan, ranks: Ranks):
    """Return the X of a native routine that overwrites right-hand sides (rows) and reads a factor.

    `operands` are the arrays of the factor, with the sharding `specs`.
    """
    rhs_spec, padded = distributed(rhs, plan, ranks)
    run = functools.partial(native, call=plan, ranks=ranks)
    x = programs.over_ranks(run, ranks, (rhs_spec, *specs), rhs_spec)(padded, *operands)
    return x[: rhs.shape[0]]
