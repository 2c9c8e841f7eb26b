"""QR routines as programs on global arrays.

The native code factors a matrix by its columns, which are rows of the transpose in JAX: a
transpose, with an all-to-all, turns row blocks of A into columns. Matrices are passed as `turned`,
an (n, m) array with the columns of A as rows.

m x n results are row blocks, P * ceil(m / P) rows that are zero from row m on, or `turned`.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from jaxmg._mesh import programs
from jaxmg._native import ffi
from jaxmg._planning import backends
from jaxmg._programs.batching import batchable_on_all
from jaxmg._programs.call import Call
from jaxmg._programs.dealt import DealtQR
from jaxmg._programs.right_hand_sides import REPLICATED, as_columns, as_rows, solved

_VECTOR = PartitionSpec(None)


def geqrf(turned, *, call: Call):
    """Factor A; return (factor, info)."""
    ranks, (n, m) = call.ranks, turned.shape
    plan = call.plan("geqrf", n, 1, turned.dtype, rows=m)

    def factored(turned):
        data, factors, info = programs.over_ranks(
            functools.partial(ffi.geqrf, call=plan, ranks=ranks),
            ranks,
            (ranks.rows,),
            (ranks.rows, ranks.rows, _VECTOR),
        )(_padded(turned, call))
        return data, factors, info[0]

    specs = ranks.rows, ranks.rows, PartitionSpec()
    data, factors, info = programs.auto(batchable_on_all(factored), ranks, specs)(turned)
    return DealtQR(data, factors, n, plan.tile), info


def is_tall(routine: str, shape, dtype, *, call: Call, count=1) -> bool:
    """Return whether to factor a matrix by its rows, by `tsqr`, in a call of `routine`.

    `count` is the number of right-hand sides of "gels".
    """
    m, n = shape
    request = backends.Request.on(call.ranks, n, count, dtype, m)
    return call.backend == "tiled" and backends.is_tall(routine, request)


def tsqr(a, *, call: Call, vectors=True):
    """Factor a tall m x n matrix; return (Q, R, info) with Q in row blocks and R replicated.

    Without `vectors`, Q is undefined.
    """
    ranks, (m, n) = call.ranks, a.shape
    plan = call.plan("tsqr", n, 1, a.dtype, rows=m, vectors=int(vectors))

    def factored(a):
        q, r, info = programs.over_ranks(
            functools.partial(ffi.tsqr, call=plan, ranks=ranks),
            ranks,
            (ranks.rows,),
            (ranks.rows, REPLICATED, _VECTOR),
        )(_padded(a, call))
        return q, r, info[0]

    return programs.auto(
        batchable_on_all(factored), ranks, (ranks.rows, REPLICATED, PartitionSpec())
    )(a)


def without_q(shape, dtype, *, call: Call, count: int) -> bool:
    """Return whether least squares of a tall matrix are solved by `getsls`."""
    m, n = shape
    return backends.without_q("gels", backends.Request.on(call.ranks, n, count, dtype, m))


def getsls(a, b, *, call: Call):
    """Solve least squares of a tall matrix, for b (m,) or (m, k); return (x, squares, info).

    `squares` are the squared norms of the residuals.
    """
    ranks, (m, n) = call.ranks, a.shape

    def solve(a, w):
        plan = call.plan("getsls", n, w.shape[0], a.dtype, rows=m)
        x, squares, info = programs.over_ranks(
            functools.partial(ffi.getsls, call=plan, ranks=ranks),
            ranks,
            (ranks.rows, ranks.columns),
            (REPLICATED, _VECTOR, _VECTOR),
        )(a, jnp.pad(w, ((0, 0), (0, ranks.padded_rows(m) - m))))
        return x, squares, info[0]

    def all_ranks(a, b):
        run = batchable_on_all(solve, merged=1, shared=(False, False, True))
        x, squares, info = run(a, as_rows(b))
        return as_columns(x, b.ndim), squares, info

    a = in_row_blocks(a, call=call)
    return programs.auto(all_ranks, ranks, (None, None, PartitionSpec()))(a, b)


def tall_gels(a, *, call: Call):
    """Factor a tall matrix for the solution of least squares; return (A, Q, R, kept, info).

    If R suffices for the seminormal equations, `kept` is 1 and Q undefined. A and Q are in row
    blocks, R is replicated.
    """
    ranks, (m, n) = call.ranks, a.shape
    plan = call.plan("tall_gels", n, 1, a.dtype, rows=m)

    def factored(a):
        q, r, kept, info = programs.over_ranks(
            functools.partial(ffi.tall_gels, call=plan, ranks=ranks),
            ranks,
            (ranks.rows,),
            (ranks.rows, REPLICATED, _VECTOR, _VECTOR),
        )(a)
        return q, r, kept[0], info[0]

    a = in_row_blocks(a, call=call)
    specs = ranks.rows, REPLICATED, PartitionSpec(), PartitionSpec()
    return a, *programs.auto(batchable_on_all(factored), ranks, specs)(a)


def seminormal(a, r, w, v, *, call: Call):
    """Solve r + A x = w, A^H r = v for A and R of `tall_gels`, w (m, k) and v (n, k).

    Return (r, x). Called in programs over all ranks.
    """
    ranks, m, n = call.ranks, w.shape[0], v.shape[0]

    def solve(a, r, w, v):
        plan = call.plan("seminormal", n, w.shape[0], a.dtype, rows=m)
        rest, x = programs.over_ranks(
            functools.partial(ffi.seminormal, call=plan, ranks=ranks),
            ranks,
            (ranks.rows, REPLICATED, ranks.columns, REPLICATED),
            (ranks.columns, REPLICATED),
        )(a, r, jnp.pad(w, ((0, 0), (0, ranks.padded_rows(m) - m))), v)
        return rest[:, :m], x

    solve = batchable_on_all(solve, merged=(2, 3), shared=(False, False))
    rest, x = solve(a, r, as_rows(w), as_rows(v))
    return as_columns(rest, 2), as_columns(x, 2)


def by_lapack(shape, dtype, *, call: Call, vectors=True) -> bool:
    """Return whether one CPU factors a matrix by LAPACK's geqrf, as JAX calls it."""
    one = call.on_one_cpu and call.workspace_limit is None
    return one and (vectors or not is_tall("geqrf", shape, dtype, call=call))


def lapack_qr(a, *, call: Call):
    """Factor a matrix of any shape on one CPU; return (Q, R)."""

    def factored(a):
        scale = _scale_for_squares(a)
        q, r = lax.linalg.qr(a * scale, full_matrices=False)
        return q, r / scale

    return programs.auto(factored, call.ranks, (call.ranks.rows,) * 2)(a)


def _scale_for_squares(a):
    """Return a power of two: squares of the elements of A times it neither over- nor underflow.

    It is 1 for most matrices. Products with it and quotients by it are exact.
    """
    parts = (a.real, a.imag) if jnp.iscomplexobj(a) else (a,)
    largest = functools.reduce(jnp.maximum, (jnp.max(jnp.abs(part), initial=0) for part in parts))
    real = np.finfo(a.dtype)
    bound = real.dtype.type(2.0 ** (real.maxexp // 3))
    factor = real.dtype.type(2.0 ** (3 * real.maxexp // 5))
    small, large = (largest < 1 / bound) & (largest > 0), (largest > bound) & (largest < jnp.inf)
    return jnp.where(small, factor, jnp.where(large, 1 / factor, 1)).astype(real.dtype)


def upper(factor: DealtQR, *, call: Call):
    """Return R, turned: (n, min(m, n)), in row blocks."""
    ranks, m = call.ranks, factor.data.shape[1]
    plan = call.reading(factor).plan("upper", factor.n, 1, factor.data.dtype, rows=m)
    native = functools.partial(ffi.upper, rows=min(m, factor.n), call=plan, ranks=ranks)
    run = programs.over_ranks(native, ranks, (ranks.rows,), ranks.rows)
    return programs.auto(batchable_on_all(run), ranks, ranks.rows)(factor.data)


def orgqr(factor: DealtQR, r, *, call: Call):
    """Return (Q, R): Q turned, its columns as rows, zero from row min(m, n) on, in row blocks.

    Q overwrites the factor, once R is there: `r`, in row blocks, is returned unchanged.
    """
    ranks, m = call.ranks, factor.data.shape[1]
    plan = call.reading(factor).plan("orgqr", factor.n, 1, factor.data.dtype, rows=m)
    native = functools.partial(ffi.orgqr, call=plan, ranks=ranks)
    run = programs.over_ranks(native, ranks, (ranks.rows,) * 3, (ranks.rows,) * 2)
    run = programs.auto(batchable_on_all(run), ranks, (ranks.rows,) * 2)
    return run(factor.data, r, factor.factors)


def ormqr(factor: DealtQR, b, *, call: Call, adjoint: bool, spec=None):
    """Return Q B or Q^H B for b (m,) or (m, k)."""
    operands = factor.data, factor.factors
    return _with_factor(ffi.ormqr, "ormqr", factor, operands, b, call, adjoint, spec)


def rtrs(factor: DealtQR, b, *, call: Call, adjoint: bool, spec=None):
    """Return R^-1 B or R^-H B for b (n,) or (n, k)."""
    return _with_factor(ffi.rtrs, "rtrs", factor, (factor.data,), b, call, adjoint, spec)


def _with_factor(native, name: str, factor: DealtQR, operands, b, call: Call, adjoint: bool, spec):
    """Call a native routine that overwrites right-hand sides and reads the arrays `operands`."""
    if b.size == 0:
        return programs.auto(lambda b: b, call.ranks, spec)(b)
    # The rule of a program must not keep its operands.
    reading, n, dtype, ranks = call.reading(factor), factor.n, factor.data.dtype, call.ranks
    options = dict(rows=factor.data.shape[1], adjoint=int(adjoint))
    specs = (ranks.rows,) * len(operands)

    def on_rows(*operands):
        *operands, rows = operands
        plan = reading.plan(name, n, rows.shape[0], dtype, **options)
        return solved(native, rows, *operands, specs=specs, plan=plan, ranks=ranks)

    def all_ranks(*operands):
        *operands, b = operands
        run = batchable_on_all(on_rows, merged=len(operands))
        x = run(*operands, as_rows(b, conjugated=False))
        return as_columns(x, b.ndim, conjugated=False)

    return programs.auto(all_ranks, ranks, spec)(*operands, b)


def turned(a, *, call: Call):
    """Return the columns of a matrix A of any sharding as rows, in row blocks without padding."""

    def all_ranks(a):
        return _padded(a.T, call)[: a.shape[1]]

    return programs.auto(all_ranks, call.ranks, None)(a)


def turned_back(rows, count: int, *, call: Call):
    """Return the first `count` rows of a `turned` matrix as columns, in row blocks."""
    ranks = call.ranks

    def all_ranks(rows):
        return _padded(rows[:count].T, call)

    return programs.auto(all_ranks, ranks, ranks.rows)(rows)


def in_row_blocks(matrix, *, call: Call):
    """Return a matrix of any sharding in row blocks."""
    return programs.auto(lambda m: _padded(m, call), call.ranks, call.ranks.rows)(matrix)


def to_matrix(blocks, rows: int, *, call: Call, spec=None):
    """Return the first `rows` rows of row blocks as a matrix of the sharding `spec`."""
    return programs.auto(lambda m: m[:rows], call.ranks, spec)(blocks)


def _padded(matrix, call: Call):
    rows = call.ranks.padded_rows(matrix.shape[0])
    return programs.in_rows(programs.pad_rows_to(matrix, rows), call.ranks)
