"""QR factorisations and least squares, with their derivatives.

Least squares are solved as augmented systems, which are square and Hermitian: JAX derives their
derivatives of any order, and all of these reuse the factor.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from jaxmg._mesh import programs
from jaxmg._programs import qr, row_blocks
from jaxmg._programs.call import Call
from jaxmg._programs.dealt import DealtQR
from jaxmg._rules import lu
from jaxmg._rules.tangents import constant, is_zero

# --- Q and R ----------------------------------------------------------------------------------


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def decompose(call: Call, a):
    """Return (Q, R) of an m x n matrix A, in row blocks."""
    m, n = a.shape
    if qr.by_lapack(a.shape, a.dtype, call=call):
        return qr.lapack_qr(a, call=call)
    if qr.is_tall("orgqr", a.shape, a.dtype, call=call):
        q, r, _ = qr.tsqr(a, call=call)
        return q, qr.in_row_blocks(r, call=call)
    factor, _ = qr.geqrf(qr.turned(a, call=call), call=call)
    r = qr.turned_back(qr.upper(factor, call=call), n, call=call)
    q, r = qr.orgqr(factor, r, call=call)
    return qr.turned_back(q, min(m, n), call=call), r


@decompose.defjvp
def _(call, primals, tangents):
    # With C = Q^H dA R^-1 and X = R's part of it, upper triangular with a real diagonal:
    # dQ = Q (C - X - C) + dA R^-1, dR = X R (Walter and Lehmann, "Algorithmic differentiation of
    # linear algebra functions with application in optimum experimental design", 2012).
    (a,), (da,) = primals, tangents
    _require_tall(a)
    q, r = decompose(call, a)
    return (q, r), _tangents(call, a.shape, q, r, da)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def upper(call: Call, a):
    """Return R of an m x n matrix A, in row blocks."""
    if qr.by_lapack(a.shape, a.dtype, call=call, vectors=False):
        return qr.lapack_qr(a, call=call)[1]
    if qr.is_tall("geqrf", a.shape, a.dtype, call=call):
        return qr.in_row_blocks(qr.tsqr(a, call=call, vectors=False)[1], call=call)
    factor, _ = qr.geqrf(qr.turned(a, call=call), call=call)
    return qr.turned_back(qr.upper(factor, call=call), a.shape[1], call=call)


@upper.defjvp
def _(call, primals, tangents):
    (a,), (da,) = primals, tangents
    _require_tall(a)
    q, r = decompose(call, a)
    return r, _tangents(call, a.shape, q, r, da)[1]


def _require_tall(a) -> None:
    if a.shape[0] < a.shape[1]:
        raise NotImplementedError(
            f"the derivative of the QR factorisation requires at least as many rows as columns; "
            f"got the shape {a.shape}"
        )


def _tangents(call: Call, shape, q, r, da):
    """Return the tangents of Q and R, all in row blocks, for a tangent of any sharding."""
    m, n = shape
    square = qr.to_matrix(r, n, call=call)
    # dA R^-1 is the transpose of R^-T dA^T.
    turned, _ = lu.solve_triangular(
        call, call.ranks.columns, False, False, True, square, qr.turned(da, call=call)
    )
    quotient = qr.turned_back(turned, n, call=call)
    c = row_blocks.product(row_blocks.adjoint(q, m, call=call), quotient, linear_in=1, call=call)
    lower = programs.auto(lambda c: jnp.tril(c, -1), call.ranks, call.ranks.rows)(c)
    skew = lower - row_blocks.adjoint(lower, call=call)
    if jnp.iscomplexobj(c):
        skew = skew + _imaginary_diagonal(c, call)
    dq = row_blocks.product(q, skew - c, linear_in=1, call=call) + quotient
    return dq, row_blocks.product(c - skew, r, linear_in=0, call=call)


def _imaginary_diagonal(c, call: Call):
    def all_ranks(c):
        row, column = (lax.broadcasted_iota(jnp.int32, c.shape, axis) for axis in (0, 1))
        return jnp.where(row == column, c - c.real, 0)

    return programs.auto(all_ranks, call.ranks, call.ranks.rows)(c)


# --- factors ----------------------------------------------------------------------------------


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def factor(call: Call, turned):
    """Factor a matrix, given by its columns as rows; return (factor, info)."""
    return qr.geqrf(turned, call=call)


@functools.partial(factor.defjvp, symbolic_zeros=True)
def _(call, primals, tangents):
    if not is_zero(tangents[0]):
        raise NotImplementedError(
            "a QRFactor has no derivative with respect to the factored matrix: differentiate "
            "jaxmg.linalg.qr or jaxmg.linalg.lstsq instead"
        )
    found = factor(call, *primals)
    return found, jax.tree.map(lambda x: jax.custom_derivatives.zero_from_primal(x, True), found)


def times_q(call: Call, spec, adjoint: bool, of: DealtQR, b):
    """Return Q B or Q^H B, as a linear function of B."""
    multiply = functools.partial(qr.ormqr, of, call=call, spec=spec)
    return _linear(call, spec, multiply, adjoint, b)


def divide_by_r(call: Call, spec, adjoint: bool, of: DealtQR, b):
    """Return R^-1 B or R^-H B for a square R, as a linear function of B."""
    divide = functools.partial(qr.rtrs, of, call=call, spec=spec)
    return _linear(call, spec, divide, adjoint, b)


def _linear(call: Call, spec, function, adjoint: bool, b):
    """Return ``function(b, adjoint=adjoint)``, whose transpose is the conjugate of its adjoint.

    JAX takes both for solutions of a linear system. It differentiates the product with the matrix
    of the system, but never evaluates it; the factor has no tangent.
    """
    return lax.custom_linear_solve(
        lambda x: x,
        _typed(call, spec, b),
        solve=lambda _, b: function(b, adjoint=adjoint),
        transpose_solve=lambda _, b: function(b.conj(), adjoint=not adjoint).conj(),
    )


# --- least squares ----------------------------------------------------------------------------


def least_squares(call: Call, a, b):
    """Return (x, squares, info) for m >= n; `squares` are the squared norms of the residuals."""
    if _without_q(call, a, b):
        return _getsls(call, a, b)
    return _by_augmented(call, a, b)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _getsls(call: Call, a, b):
    return qr.getsls(a, b, call=call)


@functools.partial(_getsls.defjvp, symbolic_zeros=True)
def _(call, primals, tangents):
    # Derivatives need the residual, which is not formed above, and reuse the factor.
    moving = [i for i, tangent in enumerate(tangents) if not is_zero(tangent)]

    def of_moving(*values):
        operands = dict(enumerate(primals)) | dict(zip(moving, values, strict=True))
        return _by_augmented(call, *operands.values())

    if not moving:
        found = of_moving()
        return found, constant(found)
    return jax.jvp(of_moving, [primals[i] for i in moving], [tangents[i] for i in moving])


def _by_augmented(call: Call, a, b):
    def zeros(b):
        # It depends on b: JAX requires tangents of all right-hand sides where A has none.
        return jnp.zeros((a.shape[1], *b.shape[1:]), b.dtype) + _nothing(b)

    v = programs.auto(zeros, call.ranks, None)(b)
    r, x, info = augmented(call, a, b, v, adjoint=False)
    return x, programs.auto(squared_norms, call.ranks, None)(r), info


def squared_norms(r):
    """Return the squared norms of the columns of r, of length 1 for a vector."""
    r = r if r.ndim == 2 else r[:, None]
    return jnp.sum(r.real**2 + r.imag**2 if jnp.iscomplexobj(r) else r**2, axis=0)


def _without_q(call: Call, a, b) -> bool:
    few = max(1, math.prod(b.shape[1:]))
    tall = qr.is_tall("gels", a.shape, a.dtype, call=call, count=few)
    return tall and qr.without_q(a.shape, a.dtype, call=call, count=few)


def augmented(call: Call, a, w, v, *, adjoint: bool):
    """Solve r + M x = w, M^H r = v for M = A or, with `adjoint`, M = A^H; return (r, x, info).

    M has at least as many rows as columns, and full rank. With v = 0, x minimises the norm of the
    residual r. With w = 0, r is the solution of M^H r = v with the least norm.
    """
    matmul = functools.partial(_matmul, call)

    def times(unknowns):
        r, x = unknowns
        if adjoint:
            return r + matmul(a, x, adjoint=True), matmul(a, r)
        return r + matmul(a, x), matmul(a, r, adjoint=True)

    few = max(1, math.prod(w.shape[1:]))
    solve, info = _solver(call, lax.stop_gradient(a), adjoint, few)

    def transposed(right):
        return jax.tree.map(jnp.conj, solve(*jax.tree.map(jnp.conj, right)))

    solutions = lax.custom_linear_solve(
        times,
        (_typed(call, None, w), _typed(call, None, v)),
        solve=lambda _, right: solve(*right),
        transpose_solve=lambda _, right: transposed(right),
    )
    return *programs.auto(_both_used, call.ranks, (None, None))(*solutions), info


def _both_used(r, x):
    """Return r and x, each depending on both: JAX 0.6 cannot transpose a solve of one alone."""
    return r + _nothing(x), x + _nothing(r)


def _nothing(y):
    return jnp.where(False, jnp.sum(y), jnp.zeros((), y.dtype))


def _solver(call: Call, a, adjoint: bool, few: int):
    """Factor M; return (the solution of the augmented system as a function of (w, v), info).

    `few` is the number of right-hand sides.
    """
    tall = a.shape[::-1] if adjoint else a.shape
    if qr.is_tall("gels", tall, a.dtype, call=call, count=few):
        m = programs.auto(lambda a: a.conj().T, call.ranks, None)(a) if adjoint else a
        if qr.without_q(tall, a.dtype, call=call, count=few):
            *factor, info = qr.tall_gels(m, call=call)
        else:
            q, r, info = qr.tsqr(m, call=call)
            factor = None, q, r, None
        run = functools.partial(_solve_tall, call)
        spec = PartitionSpec()
        return functools.partial(programs.auto(run, call.ranks, (spec, spec)), *factor), info

    # The rows of A are the columns of its adjoint, conjugated.
    of, info = qr.geqrf(a.conj() if adjoint else qr.turned(a, call=call), call=call)
    times_q = functools.partial(qr.ormqr, of, call=call)
    divide = functools.partial(qr.rtrs, of, call=call)

    def solve(w, v):
        # M = Q [R; 0], s = Q^H r: the first rows of s from M^H r = v, the others from w.
        of_w, first = times_q(w, adjoint=True), divide(v, adjoint=True)
        s, rest = programs.auto(_split, call.ranks, (None, None))(of_w, first)
        return times_q(s, adjoint=False), divide(rest, adjoint=False)

    return solve, info


def _split(of_w, first):
    n = first.shape[0]
    return jnp.concatenate([first, of_w[n:]]), of_w[:n] - first


def _solve_tall(call: Call, a, q, r, kept, w, v):
    """Solve the augmented system with R and Q or, where `kept`, with R and A."""
    sides = tuple(b if b.ndim == 2 else b[:, None] for b in (w, v))
    if kept is None:
        solution = _solve_explicitly(q, r, *sides)
    else:
        solution = lax.cond(
            kept > 0,
            lambda a, _, *others: qr.seminormal(a, *others, call=call),
            lambda _, q, *others: _solve_explicitly(q, *others),
            a,
            q,
            r,
            *sides,
        )
    return tuple(x.reshape(b.shape) for x, b in zip(solution, (w, v), strict=True))


def _solve_explicitly(q, r, w, v):
    q = q[: w.shape[0]]
    rest = _product(q.conj().T, w) - _divide(r, v, adjoint=True)
    return w - _product(q, rest), _divide(r, rest)


def _divide(r, b, *, adjoint=False):
    return lax.linalg.triangular_solve(
        r, b, left_side=True, transpose_a=adjoint, conjugate_a=adjoint
    )


def _product(a, b):
    # GPUs would round float32 operands to TF32.
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _matmul(call: Call, a, x, *, adjoint=False):
    def multiply(a, x):
        # GPUs would round float32 operands to TF32.
        a = a.conj().T if adjoint else a
        return jnp.matmul(a, x, precision=lax.Precision.HIGHEST)

    return programs.auto(multiply, call.ranks, None)(a, x)


def _typed(call: Call, spec, b):
    """Return b with the type of A x: JAX requires equal types to transpose the solve."""
    return programs.auto(lambda b: b, call.ranks, spec)(b)
