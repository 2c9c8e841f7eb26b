"""Scaled copies, norms and products of matrices in row blocks, for refinement.

Each rank reads its own rows of A in place. Vectors are rows, replicated, as right-hand sides are.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from jaxmg._mesh import programs, varying
from jaxmg._mesh.ranks import Ranks
from jaxmg._native import ffi
from jaxmg._programs.call import Call
from jaxmg._programs.right_hand_sides import REPLICATED

_VECTOR = PartitionSpec(None)
_BYTES_OF_PART = 2**19


def scaled_copy(a, left, right, dtype, shift=None, *, call: Call):
    """Return diag(left) A diag(right) in another dtype, its diagonal multiplied by 1 + shift."""
    ranks = call.ranks

    def one_rank(a, left, right, shift):
        row = _first_row(a, ranks) + lax.broadcasted_iota(np.int32, a.shape, 0)
        column = lax.broadcasted_iota(np.int32, a.shape, 1)
        scaled = (a * _own(left, a, ranks)[:, None]) * right
        return jnp.where(row == column, scaled * (1 + shift), scaled).astype(dtype)

    shift = jnp.zeros((), left.dtype) if shift is None else shift
    specs = ranks.rows, _VECTOR, _VECTOR, PartitionSpec()
    return programs.over_ranks(one_rank, ranks, specs, ranks.rows)(a, left, right, shift)


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


def norms(a, left, right, *, call: Call):
    """Return the norms of diag(left) A diag(right): largest sums of a row, and of a column."""
    ranks = call.ranks

    def one_rank(a, left, right):
        scaled = jnp.abs(a) * _own(left, a, ranks)[:, None] * right
        of_rows, of_columns = jnp.max(jnp.sum(scaled, axis=1)), jnp.sum(scaled, axis=0)
        if ranks.axes:
            of_rows, of_columns = lax.pmax(of_rows, ranks.axes), lax.psum(of_columns, ranks.axes)
        return jnp.stack([of_rows, jnp.max(of_columns)])

    specs = ranks.rows, _VECTOR, _VECTOR
    return programs.over_ranks(one_rank, ranks, specs, _VECTOR)(a, left, right)


def times(a, y, *, transposed: bool, call: Call):
    """Return Y A^T or, if transposed, Y A."""
    ranks = call.ranks

    def one_rank(a, y):
        if not transposed:
            return _gathered(_dot(y, a.T), a, ranks)
        return _sum(_dot(_own(y.T, a, ranks).T, a), ranks)

    return programs.over_ranks(one_rank, ranks, (ranks.rows, REPLICATED), REPLICATED)(a, y)


def hermitian_times(a, y, *, call: Call):
    """Return Y A for the Hermitian matrix A given by its upper triangle."""
    ranks = call.ranks
    plan = call.with_tile(None).plan("hemm", a.shape[1], y.shape[0], a.dtype)

    def one_rank(a, y):
        return _sum(ffi.hemm(a, y, call=plan, ranks=ranks), ranks)

    return programs.over_ranks(one_rank, ranks, (ranks.rows, REPLICATED), REPLICATED)(a, y)


def hermitian_norm(a, *, call: Call):
    """Return the largest sum of magnitudes in a row of a Hermitian matrix (its upper triangle)."""
    ranks = call.ranks

    def one_rank(a):
        first, (rows, n) = _first_row(a, ranks), a.shape
        of_rows, of_columns = _sums_of_triangle(a, first, in_parts=ranks.platform == "cpu")
        sums = jnp.pad(of_columns, (0, ranks.padded_rows(n) - n))
        own = lax.dynamic_slice_in_dim(sums, first, rows)
        return jnp.max(_sum(lax.dynamic_update_slice_in_dim(sums, own + of_rows, first, 0), ranks))

    return programs.over_ranks(one_rank, ranks, (ranks.rows,), PartitionSpec())(a)


def _sums_of_triangle(a, first, *, in_parts: bool):
    """Return sums of magnitudes of rows from number `first` on, and of columns above the diagonal.

    XLA for CPUs stores the magnitudes that it sums: in parts of A, they stay in the cache.
    """
    rows, n = a.shape
    height = min(rows, max(1, _BYTES_OF_PART // (n * a.itemsize))) if in_parts else rows
    if height == rows:
        row = first + lax.broadcasted_iota(np.int32, a.shape, 0)
        column = lax.broadcasted_iota(np.int32, a.shape, 1)
        of_rows = jnp.sum(jnp.where(row <= column, jnp.abs(a), 0), axis=1)
        return of_rows, jnp.sum(jnp.where(row < column, jnp.abs(a), 0), axis=0)

    def add(i, sums):
        at = i * height
        part = lax.dynamic_slice_in_dim(a, at, height)
        of_rows, of_columns = _sums_of_triangle(part, first + at, in_parts=False)
        return lax.dynamic_update_slice_in_dim(sums[0], of_rows, at, 0), sums[1] + of_columns

    zeros = varying.zeros_like(jnp.abs(a[:, 0])), varying.zeros_like(jnp.abs(a[0]))
    of_rows, of_columns = lax.fori_loop(0, rows // height, add, zeros)
    if left := rows % height:
        last, rest = _sums_of_triangle(a[-left:], first + (rows - left), in_parts=False)
        of_rows, of_columns = of_rows.at[-left:].set(last), of_columns + rest
    return of_rows, of_columns


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
