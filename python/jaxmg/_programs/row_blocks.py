"""Arithmetic on N x N matrices in row blocks, for the differentiation rules.

Row blocks are P * ceil(N / P) rows over all ranks, zero from row N on. No rank ever holds more than
a few blocks: products broadcast one block at a time, transposes are an all-to-all.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from jaxmg._mesh import programs
from jaxmg._mesh.ranks import Ranks
from jaxmg._programs.call import Call


def from_matrix(a, *, call: Call):
    """Convert an (N, N) matrix of any sharding to row blocks."""
    return programs.auto(lambda a: _padded(a, call.ranks), call.ranks, call.ranks.rows)(a)


def from_triangle(a, *, upper: bool, call: Call):
    """Return the Hermitian matrix given by one triangle of an (N, N) matrix, in row blocks.

    As LAPACK does, this ignores imaginary parts on the diagonal.
    """

    def all_ranks(a):
        part = _padded(a, call.ranks)
        strict = jnp.triu(part, 1) if upper else jnp.tril(part, -1)
        row, column = (lax.broadcasted_iota(jnp.int32, part.shape, axis) for axis in (0, 1))
        diagonal = jnp.where(row == column, part.real, 0).astype(part.dtype)
        return strict + diagonal + _adjoint(strict, call.ranks)

    return programs.auto(all_ranks, call.ranks, call.ranks.rows)(a)


def triangle(a, *, lower: bool, unit_diagonal: bool, call: Call):
    """Return a triangle of an (N, N) matrix in row blocks, optionally with a unit diagonal."""

    def all_ranks(a):
        a = _padded(a, call.ranks)
        row, column = (lax.broadcasted_iota(jnp.int32, a.shape, axis) for axis in (0, 1))
        part = jnp.where(row > column if lower else row < column, a, 0)
        return jnp.where(row == column, jnp.ones((), a.dtype) if unit_diagonal else a, part)

    return programs.auto(all_ranks, call.ranks, call.ranks.rows)(a)


def to_matrix(m, *, call: Call, spec=None):
    """Convert row blocks to an (N, N) matrix with the sharding `spec`; None leaves it to XLA."""
    return programs.auto(lambda m: m[: m.shape[1]], call.ranks, spec)(m)


def as_placed(m, *, call: Call):
    """Reshard M to the placement of A in the call; its contents do not matter."""
    if not call.placement.grid_rows:
        return m
    return programs.auto(lambda m: m, call.ranks, call.placement.spec)(m)


def times(m, x, *, call: Call, x_spec=None, adjoint=False, transposed=False):
    """Return M x, M^H x or M^T x, for x (N,) or (N, k), with the sharding of x."""
    n = m.shape[1]

    def all_ranks(m, x):
        m = programs.in_rows(m, call.ranks)
        columns = x if x.ndim == 2 else x[:, None]
        if adjoint or transposed:
            m = m.conj() if adjoint else m
            result = _matmul(m.T, _padded(columns, call.ranks))
        else:
            result = _matmul(m, columns)[:n]
        return result if x.ndim == 2 else result[:, 0]

    return programs.auto(all_ranks, call.ranks, x_spec)(m, x)


def product(a, b, *, linear_in: int, call: Call):
    """Return A B, a linear function of operand `linear_in` (0 or 1) that JAX can transpose.

    Each rank needs its rows of A and all of B, one block at a time: step k broadcasts the block of
    rank k.
    """
    ranks, n = call.ranks, a.shape[1]
    size, rows = ranks.size, ranks.shard_rows(n)
    if size == 1:
        return programs.auto(_matmul, ranks, ranks.rows)(a, b)

    # Checkpointed: a derivative broadcasts the blocks again, since the blocks of all steps together
    # are the whole of B.
    @jax.checkpoint
    def term(columns, b, k):
        mine = lax.axis_index(ranks.axes) == k
        # The transpose of this selects, in a loop, from a sum over the ranks. Without the barrier,
        # XLA for GPUs would hoist that sum out of the loop, past the selection.
        block = lax.optimization_barrier(jnp.where(mine, b, 0))
        return _matmul(columns, lax.psum(block, ranks.axes))

    def terms(a, b):
        a = jnp.pad(a, ((0, 0), (0, size * rows - n)))
        columns = a.reshape(a.shape[0], size, rows).swapaxes(0, 1)

        def step(total, of_rank):
            return total + term(of_rank[0], b, of_rank[1]), None

        total = jnp.zeros((a.shape[0], b.shape[1]), b.dtype)
        return lax.scan(step, total, (columns, jnp.arange(size, dtype=np.int32)))[0]

    # JAX 0.6 transposes only loops that are derivatives. The product is linear in an operand, hence
    # its own derivative; at 0, the terms that are not needed are known to be 0.
    def one_rank(*operands):
        def of_one(x):
            return terms(*(x if i == linear_in else operands[i] for i in range(2)))

        x = operands[linear_in]
        return jax.jvp(of_one, (jnp.zeros_like(x),), (x,))[1]

    run = programs.over_ranks(one_rank, ranks, (ranks.rows, ranks.rows), ranks.rows)
    return programs.auto(run, ranks, ranks.rows)(a, b)


def rows(m, first, count: int, *, call: Call, kept=None):
    """Return `count` rows of M from row `first` on, redistributed in row blocks.

    Rows from `kept` on are zero. `first` and `kept` may be traced. Therefore, as in a product, the
    block of each rank is broadcast, and every rank copies its rows from it.
    """
    ranks = call.ranks
    share = ranks.shard_rows(count)
    kept = count if kept is None else kept

    def one_rank(m, first, kept):
        rank = lax.axis_index(ranks.axes) if ranks.axes else 0
        row = rank * share + jnp.arange(share, dtype=np.int32)
        result = jnp.zeros((share, m.shape[1]), m.dtype)
        for k in range(ranks.size):
            block = lax.psum(jnp.where(rank == k, m, 0), ranks.axes) if ranks.size > 1 else m
            place = first + row - k * m.shape[0]
            found = (place >= 0) & (place < m.shape[0]) & (row < kept)
            result = result + jnp.where(found[:, None], block[jnp.where(found, place, 0)], 0)
        return result

    everywhere = PartitionSpec()
    run = programs.over_ranks(one_rank, ranks, (ranks.rows, everywhere, everywhere), ranks.rows)
    return programs.auto(run, ranks, ranks.rows)(
        m, *(jnp.asarray(x, np.int32) for x in (first, kept))
    )


def adjoint(m, rows: int | None = None, *, call: Call):
    """Return M^H for M with `rows` rows, by default square."""
    return _in_rows(lambda m: _adjoint(m, call.ranks, rows), call.ranks)(m)


def hermitian_part(m, *, call: Call):
    """Return (M + M^H) / 2."""
    return _in_rows(lambda m: (m + _adjoint(m, call.ranks)) / 2, call.ranks)(m)


def lower_half(m, *, call: Call):
    """Return the lower triangle of M with half of its diagonal."""
    return _in_rows(lambda m: (jnp.tril(m) + jnp.tril(m, -1)) / 2, call.ranks)(m)


def inner_rows(x, y, *, call: Call):
    """Return the real parts of the inner products of corresponding rows of X and Y.

    The result includes padding rows.
    """

    def all_ranks(x, y):
        return jnp.sum(
            (programs.in_rows(x, call.ranks).conj() * programs.in_rows(y, call.ranks)).real,
            axis=1,
        )

    return programs.auto(all_ranks, call.ranks, PartitionSpec(None))(x, y)


def scaled(m, scales, *, call: Call):
    """Return diag(scales) M; rows beyond the scales become zero."""

    def all_ranks(m, scales):
        scales = jnp.pad(scales, (0, m.shape[0] - scales.size))
        return programs.in_rows(m, call.ranks) * scales[:, None].astype(m.dtype)

    return programs.auto(all_ranks, call.ranks, call.ranks.rows)(m, scales)


def weighted(m, weights, of_rows, of_columns, *, call: Call):
    """Multiply the elements of M by ``weights(row, column, of_row, of_column)``.

    `of_row` and `of_column` are the elements of the vectors `of_rows` and `of_columns` for the row
    and the column; for padding rows, `of_row` is 0.
    """

    def all_ranks(m, of_rows, of_columns):
        row, column = (lax.broadcasted_iota(jnp.int32, m.shape, axis) for axis in (0, 1))
        of_rows = jnp.pad(of_rows, (0, m.shape[0] - of_rows.size))
        values = weights(row, column, of_rows[:, None], of_columns[None, :])
        return programs.in_rows(m, call.ranks) * programs.in_rows(
            values.astype(m.dtype), call.ranks
        )

    return programs.auto(all_ranks, call.ranks, call.ranks.rows)(m, of_rows, of_columns)


def adjoint_columns(m, *, call: Call):
    """Return the adjoint of M in blocks of columns, without communication."""
    ranks = call.ranks
    return programs.auto(lambda m: programs.in_rows(m, ranks).conj().T, ranks, ranks.columns)(m)


def columns_to_matrix(m, columns: int, *, call: Call, spec=None, beyond=0):
    """Convert blocks of columns M to a matrix of `columns` columns with the sharding `spec`.

    Excess columns of M are dropped, missing ones are filled with `beyond`.
    """

    def all_ranks(m, beyond):
        m = m[:, :columns]
        missing = columns - m.shape[1]
        return lax.pad(m, beyond.astype(m.dtype), [(0, 0, 0), (0, missing, 0)]) if missing else m

    return programs.auto(all_ranks, call.ranks, spec)(m, jnp.asarray(beyond))


def inner(x, y, *, call: Call):
    """Return the real part of sum(conj(X) * Y)."""

    def all_ranks(x, y):
        return jnp.sum((x.conj() * programs.in_rows(y, call.ranks)).real)

    return programs.auto(all_ranks, call.ranks, PartitionSpec())(x, y)


def trace_of_product(x, y, *, call: Call):
    """Return the trace of X Y, which is linear in Y."""
    x = adjoint(x, call=call)

    def all_ranks(x, y):
        return jnp.sum(x.conj() * programs.in_rows(y, call.ranks))

    return programs.auto(all_ranks, call.ranks, PartitionSpec())(x, y)


def diagonal(a, *, call: Call):
    """Return the diagonal of an (N, N) matrix of any sharding."""
    return programs.auto(jnp.diagonal, call.ranks, PartitionSpec())(a)


def add_to_diagonal(a, shift, *, call: Call):
    """Return A + shift I in row blocks, for an (N, N) matrix A."""

    def all_ranks(a, shift):
        a = _padded(a, call.ranks)
        row, column = (lax.broadcasted_iota(jnp.int32, a.shape, axis) for axis in (0, 1))
        return jnp.where(row == column, a + shift.astype(a.dtype), a)

    return programs.auto(all_ranks, call.ranks, call.ranks.rows)(a, shift)


def add_rounding_errors(a, *, call: Call):
    """Return an (N, N) matrix A in row blocks, plus errors of the size of rounding errors.

    The errors are a multiple of x y^T, where x and y have irregular elements in [1, 2).
    """

    def all_ranks(a):
        a = _padded(a, call.ranks)
        size = jnp.max(jnp.abs(a), initial=0)
        eps = np.finfo(size.dtype).eps
        size = 4 * eps * jnp.where(size == 0, 1, size)
        row, column = (lax.broadcasted_iota(size.dtype, a.shape, axis) for axis in (0, 1))
        errors = size * (1 + row * np.sqrt(2) % 1) * (1 + column * np.sqrt(3) % 1)
        return a + jnp.where(row < a.shape[1], errors, 0).astype(a.dtype)

    return programs.auto(all_ranks, call.ranks, call.ranks.rows)(a)


def _in_rows(function, ranks: Ranks):
    """Return `function` of one matrix in row blocks, with its cotangent also in row blocks."""
    return programs.auto(lambda m: function(programs.in_rows(m, ranks)), ranks, ranks.rows)


def _padded(a, ranks: Ranks):
    return programs.pad_rows_to(a, ranks.padded_rows(a.shape[0]))


def _adjoint(m, ranks: Ranks, rows: int | None = None):
    n = m.shape[1]
    # Columns become rows of the result: pad them to divide evenly among the ranks.
    padded = jnp.pad(m, ((0, 0), (0, ranks.padded_rows(n) - n)))
    return programs.in_rows(padded.conj().T, ranks)[:, : n if rows is None else rows]


def _matmul(a, b):
    # GPUs would round float32 operands to TF32.
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
