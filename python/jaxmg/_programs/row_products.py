"""Scaled copies, norms and products of matrices in row blocks, for refinement.

Each rank reads its own rows of A in place. Vectors are rows, replicated, as right-hand sides are.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from jaxmg._mesh import programs
from jaxmg._mesh.ranks import Ranks
from jaxmg._native import ffi
from jaxmg._programs.call import Call
from jaxmg._programs.right_hand_sides import REPLICATED

_VECTOR = PartitionSpec(None)


def equilibrated(a, left, right, shift=0, *, hermitian: bool, call: Call):
    """Return (diag(left) A diag(right) in single precision, the norms of that matrix).

    The diagonal is multiplied by 1 + shift. The norms are the largest sums of magnitudes in a row,
    and in a column. Of a Hermitian matrix, only the upper triangle is read and written.
    """
    ranks, n = call.ranks, a.shape[1]
    plan = call.with_tile(None).plan("equilibrate", n, 1, a.dtype, hermitian=hermitian)

    def one_rank(a, left, right, shift):
        vectors = left[None], right[None], shift.reshape(1, 1)
        scaled, of_rows, of_columns = ffi.equilibrate(a, *vectors, call=plan, ranks=ranks)
        if not hermitian:
            largest = jnp.max(of_rows)
            largest = lax.pmax(largest, ranks.axes) if ranks.axes else largest
            return scaled, jnp.stack([largest, jnp.max(_sum(of_columns, ranks))])
        sums = jnp.pad(of_columns, (0, ranks.padded_rows(n) - n))
        first = _first_row(a, ranks)
        own = lax.dynamic_slice_in_dim(sums, first, a.shape[0])
        norm = jnp.max(_sum(lax.dynamic_update_slice_in_dim(sums, own + of_rows, first, 0), ranks))
        return scaled, jnp.stack([norm, norm])

    specs = ranks.rows, _VECTOR, _VECTOR, PartitionSpec()
    run = programs.over_ranks(one_rank, ranks, specs, (ranks.rows, _VECTOR))
    return run(a, left, right, jnp.asarray(shift, left.dtype))


def largest_of_rows(a, *, call: Call):
    """Return the largest magnitude in each row of A."""
    ranks = call.ranks

    def one_rank(a):
        return _gathered(jnp.max(jnp.abs(a), axis=1)[None], a, ranks)[0]

    return programs.over_ranks(one_rank, ranks, (ranks.rows,), _VECTOR)(a)


def largest_of_columns(a, left, *, call: Call):
    """Return the largest magnitude in each column of diag(left) A."""
    ranks = call.ranks

    def one_rank(a, left):
        largest = jnp.max(jnp.abs(a) * _own(left, a, ranks)[:, None], axis=0)
        return lax.pmax(largest, ranks.axes) if ranks.axes else largest

    return programs.over_ranks(one_rank, ranks, (ranks.rows, _VECTOR), _VECTOR)(a, left)


def times(a, y, *, transposed: bool, call: Call):
    """Return Y A^T or, if transposed, Y A."""
    ranks = call.ranks

    def one_rank(a, y):
        if not transposed:
            # Not Y A^T, which XLA for CPUs multiplies at a tenth of the speed.
            return _gathered(_dot(a, y.T).T, a, ranks)
        return _sum(_dot(_own(y.T, a, ranks).T, a), ranks)

    return programs.over_ranks(one_rank, ranks, (ranks.rows, REPLICATED), REPLICATED)(a, y)


def hermitian_times(a, y, *, call: Call):
    """Return Y A for the Hermitian matrix A given by its upper triangle."""
    ranks = call.ranks
    plan = call.with_tile(None).plan("hemm", a.shape[1], y.shape[0], a.dtype)

    def one_rank(a, y):
        return _sum(ffi.hemm(a, y, call=plan, ranks=ranks), ranks)

    return programs.over_ranks(one_rank, ranks, (ranks.rows, REPLICATED), REPLICATED)(a, y)


def _first_row(a, ranks: Ranks):
    """Return the number of the first row of this rank's rows A."""
    rank = lax.axis_index(ranks.axes) if ranks.axes else np.int32(0)
    return rank * np.int32(a.shape[0])


def _own(values, a, ranks: Ranks):
    """Return the elements of `values` for the rows of this rank, 0 for padding rows."""
    missing = ranks.padded_rows(a.shape[1]) - a.shape[1]
    values = jnp.pad(values, [(0, missing)] + [(0, 0)] * (values.ndim - 1))
    return lax.dynamic_slice_in_dim(values, _first_row(a, ranks), a.shape[0])


def _gathered(of_rank, a, ranks: Ranks):
    """Return the columns of all ranks, without those for padding rows."""
    if ranks.axes:
        of_rank = lax.all_gather(of_rank, ranks.axes, axis=1, tiled=True)
    return of_rank[:, : a.shape[1]]


def _sum(x, ranks: Ranks):
    return lax.psum(x, ranks.axes) if ranks.axes else x


def _dot(x, y):
    # GPUs would round float32 operands to TF32.
    return jnp.matmul(x, y, precision=lax.Precision.HIGHEST)
