"""Programs of the Cholesky routines: global arrays in, global arrays out.

JAX's row shard ``(s, N)`` of A, read column-major, is a column block of ``A.T = conj(A)``. The
native code factors that matrix without transposing anything. Instead, the thin right-hand side and
the solution are conjugated and transposed here.

Internal N x N operands and results are *row blocks*: P * ceil(N / P) rows over all ranks, zero from
row N on. (A factor has the same shape, and other contents.)
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
from jaxmg._programs import from_factor, row_blocks
from jaxmg._programs.batching import batchable
from jaxmg._programs.call import Call
from jaxmg._programs.dealt import Dealt
from jaxmg._programs.right_hand_sides import as_columns, as_rows, distributed, solved

__all__ = ["BACKWARD", "BOTH", "FORWARD", "Call"]


# --- the routines -----------------------------------------------------------------------------


def posv(a, b, *, call: Call, x_spec=None):
    """Solve A X = B for b (N,) or (N, nrhs), a as in `potrf`; return (x, info, overwritten A).

    x has the sharding `x_spec` on the ranks' mesh (None: replicated on an Explicit mesh, XLA's
    choice on an Auto one).
    """
    ranks, n = call.ranks, a.shape[1]
    placement = call.placement
    specs = x_spec, PartitionSpec(), placement.spec
    if b.size == 0:
        return programs.auto(functools.partial(_nothing_solved, ranks), ranks, specs)(a, b)

    def solver(call):
        ranks, placement = call.ranks, call.placement

        def solve(a, rhs):
            plan = call.plan("posv", n, rhs.shape[0], a.dtype, grid_rows=placement.grid_rows)
            rhs_spec, padded = distributed(rhs, plan, ranks)
            rest, x, info = programs.over_ranks(
                functools.partial(ffi.posv, call=plan, ranks=ranks),
                ranks,
                (placement.spec, rhs_spec),
                (placement.spec, rhs_spec, PartitionSpec(None)),
            )(programs.pad_rows_to(a, ranks.padded_rows(n)), padded)
            return rest, x[: rhs.shape[0]], info[0]

        return solve

    sizes = n, b.size // n, a.dtype
    by_one = call.solved_by_one("posv", *sizes, grid_rows=placement.grid_rows)
    at_once = _solve_at_once if _solves_at_once(ranks, n, call.backend) else None
    run = batchable(solver, call, by_one, merged=1, shared=(True, False, True), at_once=at_once)

    def all_ranks(a, b):
        rest, x, info = run(a, as_rows(b))
        return as_columns(x, b.ndim), info, rest

    return programs.auto(all_ranks, ranks, specs)(a, b)


# Larger matrices of a batch are faster one after another.
_MOST_AT_ONCE = 1024


def _solves_at_once(ranks: Ranks, n: int, backend: str) -> bool:
    return ranks.platform == "gpu" and n <= _MOST_AT_ONCE and backend == "tiled"


def _solve_at_once(a, rhs):
    """Solve a batch as `ffi.posv` does by JAX's batched routines; return also whether all are fine.

    Those do not report which leading minor is not positive definite, but return NaN.
    """
    factor = lax.linalg.cholesky(a.swapaxes(-1, -2).conj(), symmetrize_input=False)
    right = dict(left_side=False, lower=True)
    y = lax.linalg.triangular_solve(factor, rhs, transpose_a=True, conjugate_a=True, **right)
    x = lax.linalg.triangular_solve(factor, y, **right)
    fine = jnp.isfinite(jnp.diagonal(factor, axis1=-2, axis2=-1)).all()
    return (factor, x, jnp.zeros(a.shape[0], np.int32)), fine


def _nothing_solved(ranks: Ranks, a, b):
    """Return the result of `posv` for a matrix of order 0, or without right-hand sides."""
    return b, jnp.zeros((), np.int32), programs.pad_rows_to(a, ranks.padded_rows(a.shape[1]))


def potrf(a, *, call: Call, **options):
    """Factor A, an (N, N) matrix or row blocks; return (factor, info).

    `options` are further arguments of the plan, see `Precision.factor_options`.
    """
    ranks, n = call.ranks, a.shape[1]
    if a.size == 0:
        specs = ranks.rows, PartitionSpec()
        data, info = programs.auto(lambda a: (a, jnp.zeros((), np.int32)), ranks, specs)(a)
        return Dealt(data, call.tile or 0), info
    data, info = _potrf(a, call, **options)
    return Dealt(data, call.plan("potrf", n, 1, a.dtype, **options).tile), info


def potrf_shifted(a, first, *, growth: float, max_tries: int, call: Call):
    """Factor A + shift I for the first shift in 0, first, growth * first, ... that succeeds.

    Return (factor, info, shift).
    """
    ranks, n = call.ranks, a.shape[1]
    if a.size == 0:
        return *potrf(a, call=call), varying.zeros_like(first)

    def unfinished(state):
        tries, _, _, info = state
        return (info != 0) & (tries < max_tries)

    def search_on(call):
        def search(a, first):
            def attempt(state):
                tries, shift, _, _ = state
                shift = jnp.where(tries == 0, first, growth * shift)
                shifted = row_blocks.add_to_diagonal(a, shift, call=call)
                return (tries + 1, shift, *_potrf(shifted, call))

            state = (np.int32(0), varying.zeros_like(first), *_potrf(a, call))
            _, shift, data, info = lax.while_loop(unfinished, attempt, state)
            return data, info, shift

        return search

    run = batchable(search_on, call, call.solved_by_one("potrf", n, 1, a.dtype))
    specs = ranks.rows, PartitionSpec(), PartitionSpec()
    data, info, shift = programs.auto(run, ranks, specs)(a, first)
    return Dealt(data, call.plan("potrf", n, 1, a.dtype).tile), info, shift


def _potrf(a, call: Call, **options):
    """Factor A; return (data of the factor, info). `options` are arguments of the routine."""
    n, dtype = a.shape[1], a.dtype  # the rule of a program must not refer to its operands

    def factor_on(call):
        ranks, plan = call.ranks, call.plan("potrf", n, 1, dtype, **options)

        def factored(a):
            data, info = programs.over_ranks(
                functools.partial(ffi.potrf, call=plan, ranks=ranks),
                ranks,
                (ranks.rows,),
                (ranks.rows, PartitionSpec(None)),
            )(programs.to_rows(a, ranks.padded_rows(n)))
            return data, info[0]

        return factored

    run = batchable(factor_on, call, call.solved_by_one("potrf", n, 1, dtype, **options))
    specs = call.ranks.rows, PartitionSpec()
    return programs.auto(run, call.ranks, specs)(a)


def potrs(factor: Dealt, b, *, call: Call, sweeps: int, x_spec=None):
    """Solve A X = B (BOTH), L X = B (FORWARD) or L^H X = B (BACKWARD), for b as in `posv`."""
    if b.size == 0:
        return programs.auto(lambda b: b, call.ranks, x_spec)(b)

    solve = _row_solve(factor, call, sweeps, b.size // factor.data.shape[1], merged=1)

    def all_ranks(data, b):
        return as_columns(solve(data, as_rows(b)), b.ndim)

    return programs.auto(all_ranks, call.ranks, x_spec)(factor.data, b)


def potrs_rows(factor: Dealt, r, *, call: Call, sweeps: int):
    """Multiply row blocks R from the right: R A^-1 (BOTH), R L^-H (FORWARD), R L^-1 (BACKWARD).

    This is (A^-1 R^H)^H, and so on: the native code takes the rows of R as right-hand sides.
    """
    if r.size == 0:
        return r
    solve = _row_solve(factor, call, sweeps, r.shape[0])
    return programs.auto(solve, call.ranks, call.ranks.rows)(factor.data, r)


def potri(factor: Dealt, *, call: Call):
    """Return the inverse of A in row blocks."""
    return from_factor.in_row_blocks(ffi.potri, "potri", factor, call=call)


def lower(factor: Dealt, *, call: Call):
    """Return L in row blocks."""
    return from_factor.in_row_blocks(ffi.lower, "lower", factor, call=call)


def diagonal(factor: Dealt, *, call: Call):
    """Return the (N,) diagonal of L."""
    return from_factor.diagonal(factor, "potrs", call=call)


def _row_solve(
    factor: Dealt, call: Call, sweeps: int, nrhs: int, merged: int | tuple[int, ...] = ()
):
    """Return a function that solves with the data of a factor, for right-hand sides as rows.

    `nrhs` is the number of right-hand sides of one system, also in a batch.
    """
    call, n, dtype = call.reading(factor), factor.data.shape[1], factor.data.dtype
    if sweeps != BOTH:  # Vendors' libraries only solve with L and L^H together.
        call = dataclasses.replace(call, backend="tiled")

    def solve_on(call):
        ranks = call.ranks

        def solve(data, rhs):
            plan = call.plan("potrs", n, rhs.shape[0], dtype, sweeps=sweeps)
            data = programs.to_rows(data, ranks.padded_rows(n))
            return solved(ffi.potrs, rhs, data, specs=(ranks.rows,), plan=plan, ranks=ranks)

        return solve

    by_one = call.solved_by_one("potrs", n, nrhs, dtype, sweeps=sweeps)
    return batchable(solve_on, call, by_one, merged=merged)


# --- inside the caller's shard_map ------------------------------------------------------------


def posv_on_shards(a, b, call: Call):
    """Solve with this rank's rows of A; b and x are replicated. Return (x, info)."""
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
    """Invert A from this rank's rows; return (this rank's rows of the inverse, info)."""
    n = a.shape[1]
    if a.size == 0:
        return a, jnp.zeros((), np.int32)
    plan = call.plan("potrf", n, 1, a.dtype)
    data, info = ffi.potrf(a, call=plan, ranks=call.ranks)
    plan = call.reading(Dealt(data, plan.tile)).plan("potri", n, 1, a.dtype)
    x = ffi.potri(data, call=plan, ranks=call.ranks)
    return x, varying.invariant(info, call.ranks.axes)[0]
