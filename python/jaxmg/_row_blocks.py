"""Arithmetic on N x N matrices in row blocks, for the rules of differentiation.

Row blocks are the P * ceil(N / P) rows of all ranks, of which those from N on are zero. No rank
ever holds more than a few blocks: products send blocks around, transposes exchange pieces.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from jaxmg import _sharding
from jaxmg._cholesky import Call
from jaxmg._sharding import Ranks


def from_matrix(a, *, call: Call):
    """Return a (N, N) matrix of any sharding in row blocks."""
    return _sharding.auto(lambda a: _padded(a, call.ranks), call.ranks, call.ranks.rows)(a)


def from_upper(a, *, call: Call):
    """Return the Hermitian matrix with the upper triangle of a (N, N) matrix in row blocks."""

    def all_ranks(a):
        upper = jnp.triu(_padded(a, call.ranks))
        return upper + _adjoint(jnp.triu(upper, 1), call.ranks)

    return _sharding.auto(all_ranks, call.ranks, call.ranks.rows)(a)


def to_matrix(m, *, call: Call, spec=None):
    """Return the (N, N) matrix with the sharding `spec`; None leaves it to XLA."""
    return _sharding.auto(lambda m: m[: m.shape[1]], call.ranks, spec)(m)


def times(m, x, *, call: Call, x_spec=None, adjoint=False):
    """Return M x, or M^H x, for x (N,) or (N, k), with the sharding of x."""
    n = m.shape[1]

    def all_ranks(m, x):
        m = _sharding.in_rows(m, call.ranks)
        columns = x if x.ndim == 2 else x[:, None]
        if adjoint:
            result = _matmul(m.conj().T, _padded(columns, call.ranks))
        else:
            result = _matmul(m, columns)[:n]
        return result if x.ndim == 2 else result[:, 0]

    return _sharding.auto(all_ranks, call.ranks, x_spec)(m, x)


def product(a, b, *, linear_in: int, call: Call):
    """Return A B, of which operand `linear_in` (0 or 1) may be transposed.

    Each rank needs its rows of A and all of B, a block after another: in step k the block of rank k
    goes to all.
    """
    ranks, n = call.ranks, a.shape[1]
    size, rows = ranks.size, ranks.shard_rows(n)
    if size == 1:
        return _sharding.auto(_matmul, ranks, ranks.rows)(a, b)

    # Checkpointed, so that for a derivative the blocks are sent again: those of all steps together
    # are the whole of B.
    @jax.checkpoint
    def term(columns, b, k):
        mine = lax.axis_index(ranks.axes) == k
        return _matmul(columns, lax.psum(jnp.where(mine, b, 0), ranks.axes))

    def terms(a, b):
        a = jnp.pad(a, ((0, 0), (0, size * rows - n)))
        columns = a.reshape(rows, size, rows).swapaxes(0, 1)

        def step(total, of_rank):
            return total + term(of_rank[0], b, of_rank[1]), None

        return lax.scan(step, jnp.zeros_like(b), (columns, jnp.arange(size)))[0]

    # Older JAX (0.6) transposes only loops that are derivatives. As the product is linear in an
    # operand, it is its own derivative; at 0, what is not needed of that is known to be 0.
    def one_rank(*operands):
        def of_one(x):
            return terms(*(x if i == linear_in else operands[i] for i in range(2)))

        x = operands[linear_in]
        return jax.jvp(of_one, (jnp.zeros_like(x),), (x,))[1]

    run = _sharding.over_ranks(one_rank, ranks, (ranks.rows, ranks.rows), ranks.rows)
    return _sharding.auto(run, ranks, ranks.rows)(a, b)


def adjoint(m, *, call: Call):
    """Return M^H."""
    return _in_rows(lambda m: _adjoint(m, call.ranks), call.ranks)(m)


def hermitian_part(m, *, call: Call):
    """Return (M + M^H) / 2."""
    return _in_rows(lambda m: (m + _adjoint(m, call.ranks)) / 2, call.ranks)(m)


def lower_half(m, *, call: Call):
    """Return the lower triangle of M with half of its diagonal."""
    return _in_rows(lambda m: (jnp.tril(m) + jnp.tril(m, -1)) / 2, call.ranks)(m)


def inner(x, y, *, call: Call):
    """Return the real part of sum(conj(X) * Y)."""

    def all_ranks(x, y):
        return jnp.sum((x.conj() * _sharding.in_rows(y, call.ranks)).real)

    return _sharding.auto(all_ranks, call.ranks, PartitionSpec())(x, y)


def diagonal(a, *, call: Call):
    """Return the diagonal of a (N, N) matrix of any sharding."""
    return _sharding.auto(jnp.diagonal, call.ranks, PartitionSpec())(a)


def add_to_diagonal(a, shift, *, call: Call):
    """Return the (N, N) matrix A + shift I in row blocks."""

    def all_ranks(a, shift):
        a = _padded(a, call.ranks)
        row, column = (lax.broadcasted_iota(jnp.int32, a.shape, axis) for axis in (0, 1))
        return jnp.where(row == column, a + shift.astype(a.dtype), a)

    return _sharding.auto(all_ranks, call.ranks, call.ranks.rows)(a, shift)


def _in_rows(function, ranks: Ranks):
    """Return `function` of one matrix in row blocks, whose cotangent is in row blocks, too."""
    return _sharding.auto(lambda m: function(_sharding.in_rows(m, ranks)), ranks, ranks.rows)


def _padded(a, ranks: Ranks):
    return _sharding.pad_rows_to(a, ranks.padded_rows(a.shape[0]))


def _adjoint(m, ranks: Ranks):
    rows, n = m.shape
    # Square, so that the transpose divides among the ranks like the matrix.
    square = jnp.pad(m, ((0, 0), (0, rows - n)))
    return _sharding.in_rows(square.conj().T, ranks)[:, :n]


def _matmul(a, b):
    # GPUs would round float32 operands to TF32.
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
