"""The programs of the Cholesky routines: global arrays in, global arrays out.

JAX's row shard ``(s, N)`` of A, read column-major, is a column block of ``A.T = conj(A)``. The
native code factors that matrix without transposing anything; instead, the thin right-hand side is
conjugated and transposed here, and so is the solution.

N x N operands and results that only this package sees are *row blocks*: the P * ceil(N / P) rows of
all ranks, of which those from N on are zero. (A factor has the same shape, and other contents.)
"""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from jaxmg._mesh import programs, varying
from jaxmg._mesh.ranks import Ranks
from jaxmg._native import ffi
from jaxmg._native.ffi import BACKWARD, BOTH, FORWARD
from jaxmg._programs.batching import batchable
from jaxmg._programs.call import Call
from jaxmg._programs.right_hand_sides import REPLICATED, as_columns, as_rows, distributed

__all__ = ["BACKWARD", "BOTH", "FORWARD", "Call"]


# --- the routines -----------------------------------------------------------------------------


def posv(a, b, *, call: Call, x_spec=None):
    """Solve A X = B for b (N,) or (N, nrhs), a as in `potrf`; return (x, info, factor).

    x has the sharding `x_spec` on the ranks' mesh (None: replicated on an Explicit mesh, XLA's
    choice on an Auto one).
    """
    ranks, n = call.ranks, a.shape[1]
    placement = call.placement
    specs = x_spec, PartitionSpec(), placement.spec
    if b.size == 0:
        return programs.auto(functools.partial(_nothing_solved, ranks), ranks, specs)(a, b)

    def solve(a, rhs):
        plan = call.plan("posv", n, rhs.shape[0], a.dtype, grid_rows=placement.grid_rows)
        rhs_spec, padded = distributed(rhs, plan, ranks)
        factor, x, info = programs.over_ranks(
            functools.partial(ffi.posv, call=plan, ranks=ranks),
            ranks,
            (placement.spec, rhs_spec),
            (placement.spec, rhs_spec, PartitionSpec(None)),
        )(programs.pad_rows_to(a, ranks.padded_rows(n)), padded)
        return factor, x[: rhs.shape[0]], info[0]

    def all_ranks(a, b):
        factor, x, info = batchable(solve, merged=1, shared=(True, False, True))(a, as_rows(b))
        return as_columns(x, b.ndim), info, factor

    return programs.auto(all_ranks, ranks, specs)(a, b)


def _nothing_solved(ranks: Ranks, a, b):
    """Return what `posv` does for a matrix of order 0, or without right-hand sides."""
    return b, jnp.zeros((), np.int32), programs.pad_rows_to(a, ranks.padded_rows(a.shape[1]))


def potrf(a, *, call: Call):
    """Factor A, a matrix or its row blocks; return (factor, info)."""
    ranks, n, specs = call.ranks, a.shape[1], (call.ranks.rows, PartitionSpec())
    if a.size == 0:
        return programs.auto(lambda a: (a, jnp.zeros((), np.int32)), ranks, specs)(a)
    plan = call.plan("potrf", n, 1, a.dtype)

    def factor(a):
        factor, info = programs.over_ranks(
            functools.partial(ffi.potrf, call=plan, ranks=ranks),
            ranks,
            (ranks.rows,),
            (ranks.rows, PartitionSpec(None)),
        )(programs.pad_rows_to(a, ranks.padded_rows(n)))
        return factor, info[0]

    return programs.auto(batchable(factor), ranks, specs)(a)


def potrs(factor, b, *, call: Call, sweeps: int, x_spec=None):
    """Solve A X = B (BOTH), L X = B (FORWARD) or L^H X = B (BACKWARD), for b as in `posv`."""
    if b.size == 0:
        return programs.auto(lambda b: b, call.ranks, x_spec)(b)

    def all_ranks(factor, b):
        solve = batchable(_row_solve(call, factor.shape[1], sweeps), merged=1)
        return as_columns(solve(factor, as_rows(b)), b.ndim)

    return programs.auto(all_ranks, call.ranks, x_spec)(factor, b)


def potrs_rows(factor, r, *, call: Call, sweeps: int):
    """Multiply row blocks R from the right: R A^-1 (BOTH), R L^-H (FORWARD), R L^-1 (BACKWARD).

    This is (A^-1 R^H)^H, and so on: the rows of R are what the native code takes for right-hand
    sides.
    """
    if r.size == 0:
        return r
    solve = batchable(_row_solve(call, factor.shape[1], sweeps))
    return programs.auto(solve, call.ranks, call.ranks.rows)(factor, r)


def potri(factor, *, call: Call):
    """Return the inverse of A in row blocks."""
    return _from_factor(ffi.potri, "potri", factor, call)


def lower(factor, *, call: Call):
    """Return L in row blocks."""
    return _from_factor(ffi.lower, "lower", factor, call)


def diagonal(factor, *, call: Call):
    """Return the (N,) diagonal of L."""
    if factor.size == 0:
        return programs.auto(jnp.ravel, call.ranks, PartitionSpec(None))(factor)
    ranks, n = call.ranks, factor.shape[1]
    plan = call.plan("diagonal", n, 1, factor.dtype)
    values = programs.over_ranks(
        functools.partial(ffi.diagonal, call=plan, ranks=ranks),
        ranks,
        (ranks.rows,),
        REPLICATED,
    )
    return programs.auto(batchable(values), ranks, REPLICATED)(factor)[0]


def _row_solve(call: Call, n: int, sweeps: int):
    ranks = call.ranks
    if sweeps != BOTH:  # Vendors' libraries solve with L and L^H at once.
        call = dataclasses.replace(call, backend="tiled")

    def solve(factor, rhs):
        plan = call.plan("potrs", n, rhs.shape[0], factor.dtype, sweeps=sweeps)
        rhs_spec, padded = distributed(rhs, plan, ranks)
        x = programs.over_ranks(
            functools.partial(ffi.potrs, call=plan, ranks=ranks),
            ranks,
            (rhs_spec, ranks.rows),
            rhs_spec,
        )(padded, factor)
        return x[: rhs.shape[0]]

    return solve


def _from_factor(routine, name: str, factor, call: Call):
    """Call a routine that puts an N x N result in row blocks in place of the factor."""
    if factor.size == 0:
        return factor
    ranks, n = call.ranks, factor.shape[1]
    plan = call.plan(name, n, 1, factor.dtype)

    def one_rank(factor):
        result = routine(factor, call=plan, ranks=ranks)
        if n == ranks.padded_rows(n):
            return result
        rows = ranks.shard_rows(n)
        row = lax.axis_index(ranks.axes) * rows + jnp.arange(rows, dtype=np.int32)
        return jnp.where(row[:, None] < n, result, 0)

    run = programs.over_ranks(one_rank, ranks, (ranks.rows,), ranks.rows)
    return programs.auto(batchable(run), ranks, ranks.rows)(factor)


# --- inside the caller's shard_map ------------------------------------------------------------


def posv_on_shards(a, b, call: Call):
    """Solve for this rank's rows of A; b and x are whole on every rank. Return (x, info)."""
    ranks, (n, nrhs) = call.ranks, b.shape
    if b.size == 0:
        return jnp.zeros_like(b), jnp.zeros((), np.int32)
    plan = call.plan("posv", n, nrhs, a.dtype)
    b = b.conj().T
    if plan.distributed_rhs:
        share = ranks.shard_rows(nrhs)
        b = programs.pad_rows_to(b, ranks.size * share)
        b = lax.dynamic_slice_in_dim(b, lax.axis_index(ranks.axes) * share, share)
    _, x, info = ffi.posv(a, b, call=plan, ranks=ranks)
    if plan.distributed_rhs:
        x = lax.all_gather(x, ranks.axes, tiled=True)
    x, info = (varying.invariant(result, ranks.axes) for result in (x, info))
    return x[:nrhs].conj().T, info[0]


def inverse_on_shards(a, call: Call):
    """Invert A, of which each rank has its rows; return (this rank's rows of the inverse, info)."""
    n = a.shape[1]
    if a.size == 0:
        return a, jnp.zeros((), np.int32)
    plan = call.plan("potrf", n, 1, a.dtype)
    factor, info = ffi.potrf(a, call=plan, ranks=call.ranks)
    plan = call.of_factor(a).plan("potri", n, 1, a.dtype)
    x = ffi.potri(factor, call=plan, ranks=call.ranks)
    return x, varying.invariant(info, call.ranks.axes)[0]
