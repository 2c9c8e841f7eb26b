"""QR factorisations and least squares, with their derivatives.

Least squares are solved as augmented systems, which are square and Hermitian: JAX derives their
derivatives of any order, and all of these reuse the factor.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from jaxmg._mesh import programs
from jaxmg._programs import qr, row_blocks
from jaxmg._programs.call import Call
from jaxmg._programs.dealt import DealtQR
from jaxmg._rules import lu
from jaxmg._rules.tangents import is_zero

# --- Q and R ----------------------------------------------------------------------------------


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def decompose(call: Call, a):
    """Return (Q, R) of an m x n matrix A, in row blocks."""
    m, n = a.shape
    factor, _ = qr.geqrf(qr.turned(a, call=call), call=call)
    r = qr.turned_back(qr.upper(factor, call=call), n, call=call)
    return qr.turned_back(qr.orgqr(factor, call=call), min(m, n), call=call), r


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


def augmented(call: Call, spec, turned, w, v):
    """Solve r + A x = w, A^H r = v for an m x n matrix A of rank n; return (r, x, info).

    `turned` holds the columns of A as rows. With v = 0, x minimises the norm of the residual r.
    With w = 0, r is the solution of A^H r = v with the least norm.
    """
    n = turned.shape[0]
    of, info = qr.geqrf(lax.stop_gradient(turned), call=call)
    times_q = functools.partial(qr.ormqr, of, call=call, spec=spec)
    divide = functools.partial(qr.rtrs, of, call=call, spec=spec)

    def solve(w, v):
        # A = Q [R; 0], s = Q^H r: the first rows of s from A^H r = v, the others from w.
        of_w, first = times_q(w, adjoint=True), divide(v, adjoint=True)
        parts = programs.auto(_split, call.ranks, (spec, spec))(of_w, first)
        return times_q(parts[0], adjoint=False), divide(parts[1], adjoint=False)

    def times(unknowns):
        r, x = unknowns
        return r + _matmul(call, spec, turned.T, x), _matmul(call, spec, turned.conj(), r)

    def transposed(right):
        return jax.tree.map(jnp.conj, solve(*jax.tree.map(jnp.conj, right)))

    w, v = _typed(call, spec, w), _typed(call, spec, v)
    assert v.shape[0] == n
    r, x = lax.custom_linear_solve(
        times,
        (w, v),
        solve=lambda _, right: solve(*right),
        transpose_solve=lambda _, right: transposed(right),
    )
    return r, x, info


def _split(of_w, first):
    n = first.shape[0]
    return jnp.concatenate([first, of_w[n:]]), of_w[:n] - first


def _matmul(call: Call, spec, a, x):
    # GPUs would round float32 operands to TF32.
    multiply = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    return programs.auto(multiply, call.ranks, spec)(a, x)


def _typed(call: Call, spec, b):
    """Return b with the type of A x: JAX requires equal types to transpose the solve."""
    return programs.auto(lambda b: b, call.ranks, spec)(b)
