"""LU and triangular routines as programs on global arrays.

JAX's row shard ``(s, N)`` of A, read column-major, is a block column of A^T. The native code
factors it without moving it: P A^T = L U. Right-hand sides and solutions are transposed here.
N x N results are row blocks (see `row_blocks`), or factors of the same shape.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from jaxmg._mesh import programs
from jaxmg._native import ffi
from jaxmg._programs import from_factor
from jaxmg._programs.batching import batchable
from jaxmg._programs.call import Call
from jaxmg._programs.dealt import DealtLU
from jaxmg._programs.right_hand_sides import (
    REPLICATED,
    as_columns,
    as_rows,
    distributed,
    solved,
)

_VECTOR = PartitionSpec(None)


def gesv(a, b, *, call: Call, x_spec=None):
    """Solve A X = B for b (N,) or (N, nrhs) and a matrix a; return (x, info, factors).

    x has the sharding `x_spec` on the ranks' mesh (None: replicated on an Explicit mesh, XLA's
    choice on an Auto one).
    """
    ranks, n = call.ranks, a.shape[1]
    if b.size == 0:
        factors, info = getrf(a, call=call)
        return programs.auto(lambda b: b, ranks, x_spec)(b), info, factors
    # The tile size of the factors must not depend on the number of right-hand sides in a batch.
    call = call.with_tile(call.plan("gesv", n, b.size // n, a.dtype).tile)

    def solver(call):
        ranks = call.ranks

        def solve(a, rhs):
            plan = call.plan("gesv", n, rhs.shape[0], a.dtype)
            rhs_spec, padded = distributed(rhs, plan, ranks)
            data, x, pivots, info = programs.over_ranks(
                functools.partial(ffi.gesv, call=plan, ranks=ranks),
                ranks,
                (ranks.rows, rhs_spec),
                (ranks.rows, rhs_spec, REPLICATED, _VECTOR),
            )(programs.to_rows(a, ranks.padded_rows(n)), padded)
            return data, x[: rhs.shape[0]], pivots[0], info[0]

        return solve

    by_one = call.solved_by_one("gesv", n, b.size // n, a.dtype)
    run = batchable(solver, call, by_one, merged=1, shared=(True, False, True, True))

    def all_ranks(a, b):
        data, x, pivots, info = run(a, as_rows(b, conjugated=False))
        return as_columns(x, b.ndim, conjugated=False), info, data, pivots

    specs = x_spec, PartitionSpec(), ranks.rows, _VECTOR
    x, info, data, pivots = programs.auto(all_ranks, ranks, specs)(a, b)
    return x, info, DealtLU(data, pivots, call.tile)


def getrf(a, *, call: Call, **options):
    """Factor A, a matrix or its row blocks; return (factors, info).

    `options` are further arguments of the plan, see `Precision.factor_options`.
    """
    ranks, n, dtype = call.ranks, a.shape[1], a.dtype
    specs = ranks.rows, _VECTOR, PartitionSpec()
    if n == 0:
        none = functools.partial(jnp.zeros, dtype=np.int32)
        data, pivots, info = programs.auto(lambda a: (a, none(0), none(())), ranks, specs)(a)
        return DealtLU(data, pivots, call.tile or 0), info

    def factor_on(call):
        ranks, plan = call.ranks, call.plan("getrf", n, 1, dtype, **options)

        def factored(a):
            data, pivots, info = programs.over_ranks(
                functools.partial(ffi.getrf, call=plan, ranks=ranks),
                ranks,
                (ranks.rows,),
                (ranks.rows, REPLICATED, _VECTOR),
            )(programs.to_rows(a, ranks.padded_rows(n)))
            return data, pivots[0], info[0]

        return factored

    run = batchable(factor_on, call, call.solved_by_one("getrf", n, 1, dtype, **options))
    data, pivots, info = programs.auto(run, ranks, specs)(a)
    return DealtLU(data, pivots, call.plan("getrf", n, 1, dtype, **options).tile), info


def getrs(factors: DealtLU, b, *, call: Call, transposed=False, x_spec=None):
    """Solve A X = B or A^T X = B, for b as in `gesv`."""
    ranks = call.ranks
    if b.size == 0:
        return programs.auto(lambda b: b, ranks, x_spec)(b)
    call = call.reading(factors)

    n, dtype = factors.data.shape[1], factors.data.dtype
    trans = int(transposed)

    def solver(call):
        ranks = call.ranks

        def solve(data, pivots, rhs):
            plan = call.plan("getrs", n, rhs.shape[0], dtype, trans=trans)
            data, specs = programs.to_rows(data, ranks.padded_rows(n)), (ranks.rows, REPLICATED)
            return solved(ffi.getrs, rhs, data, pivots[None], specs=specs, plan=plan, ranks=ranks)

        return solve

    by_one = call.solved_by_one("getrs", n, b.size // n, dtype, trans=trans)
    run = batchable(solver, call, by_one, merged=2)

    def all_ranks(data, pivots, b):
        x = run(data, pivots, as_rows(b, conjugated=False))
        return as_columns(x, b.ndim, conjugated=False)

    return programs.auto(all_ranks, ranks, x_spec)(factors.data, factors.pivots, b)


def getri(factors: DealtLU, *, call: Call):
    """Return the inverse of A in row blocks."""
    return from_factor.in_row_blocks(ffi.getri, "getri", factors, call=call)


def diagonal(factors: DealtLU, *, call: Call):
    """Return the (N,) diagonal of U."""
    return from_factor.diagonal(factors, "getrs", call=call)


def parity(factors: DealtLU):
    """Return the determinant of P (1 or -1) in the dtype of the factors."""
    interchanged = factors.pivots != jnp.arange(factors.pivots.shape[0], dtype=np.int32)
    odd = jnp.sum(interchanged, dtype=np.int32) % 2
    return (1 - 2 * odd).astype(factors.data.dtype)


def trtrs(a, b, *, call: Call, lower: bool, unit_diagonal: bool, transposed: bool, x_spec=None):
    """Solve A X = B or A^T X = B with a triangle of A; return (x, overwritten A)."""
    ranks, n = call.ranks, a.shape[1]
    specs = x_spec, ranks.rows
    if b.size == 0:
        rest = functools.partial(programs.pad_rows_to, rows=ranks.padded_rows(n))
        return programs.auto(lambda a, b: (b, rest(a)), ranks, specs)(a, b)
    options = dict(lower=lower, unit_diagonal=unit_diagonal, transposed=transposed)

    def solver(call):
        ranks = call.ranks

        def solve(a, rhs):
            plan = call.plan("trtrs", n, rhs.shape[0], a.dtype, **options)
            rhs_spec, padded = distributed(rhs, plan, ranks)
            rest, x = programs.over_ranks(
                functools.partial(ffi.trtrs, call=plan, ranks=ranks),
                ranks,
                (ranks.rows, rhs_spec),
                (ranks.rows, rhs_spec),
            )(programs.to_rows(a, ranks.padded_rows(n)), padded)
            return rest, x[: rhs.shape[0]]

        return solve

    by_one = call.solved_by_one("trtrs", n, b.size // n, a.dtype, **options)
    run = batchable(solver, call, by_one, merged=1, shared=(True, False))

    def all_ranks(a, b):
        rest, x = run(a, as_rows(b, conjugated=False))
        return as_columns(x, b.ndim, conjugated=False), rest

    return programs.auto(all_ranks, ranks, specs)(a, b)
