"""Solves, inverses and determinants of general matrices, with their derivatives.

By convention, the tangent of a factor is the tangent dA of the factored matrix, in row blocks, as
for Cholesky factors. The data of a factor may therefore stand for A in linear maps that are only
differentiated, never evaluated.

The equations are from Giles, "An extended collection of matrix derivative results for forward
and reverse mode algorithmic differentiation" (Oxford, 2008).
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from jaxmg._mesh import programs, varying
from jaxmg._programs import lu, row_blocks
from jaxmg._programs.call import Call
from jaxmg._programs.dealt import DealtLU
from jaxmg._rules.tangents import instantiated, is_zero, no_tangent, of_inverse

# --- factors ----------------------------------------------------------------------------------


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def factor(call: Call, a):
    """Factor A; return (factors, info)."""
    return lu.getrf(a, call=call)


@functools.partial(factor.defjvp, symbolic_zeros=True)
def _(call, primals, tangents):
    (da,) = tangents
    factors, info = factor(call, *primals)
    if is_zero(da):
        da = varying.zeros_like(factors.data)
    else:
        da = row_blocks.from_matrix(da, call=call)
    return (factors, info), (
        DealtLU(da, no_tangent(factors.pivots), factors.tile),
        no_tangent(info),
    )


# --- A^-1 b -----------------------------------------------------------------------------------


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def factor_and_solve(call: Call, x_spec, a, b):
    """Solve A x = b; return (x, info, factors)."""

    b = _typed(call, x_spec, b)

    def gesv(b):
        x, *rest = lu.gesv(a, b, call=call, x_spec=x_spec)
        return x, tuple(rest)

    def transposed(b):
        factors, info = lu.getrf(a, call=call)
        x = lu.getrs(factors, b, call=call, transposed=True, x_spec=x_spec)
        return x, (info, factors)

    def times(x):
        rows = row_blocks.from_matrix(a, call=call)
        return row_blocks.times(rows, x, call=call, x_spec=x_spec)

    x, (info, factors) = lax.custom_linear_solve(
        times,
        b,
        solve=lambda _, b: gesv(b),
        transpose_solve=lambda _, b: transposed(b),
        has_aux=True,
    )
    return x, info, factors


@functools.partial(factor_and_solve.defjvp, symbolic_zeros=True)
def _(call, x_spec, primals, tangents):
    # A x = b, so A dx = db - dA x.
    (a, b), (da, db) = primals, tangents
    factors, info = factor(call, a)
    x = solve(call, x_spec, False, factors, b)
    db = instantiated(db, x)
    d_data = varying.zeros_like(factors.data)
    if not is_zero(da):
        d_data = row_blocks.from_matrix(da, call=call)
        db = db - row_blocks.times(d_data, x, call=call, x_spec=x_spec)
    dx = solve(call, x_spec, False, factors, db)
    d_factors = DealtLU(d_data, no_tangent(factors.pivots), factors.tile)
    return (x, info, factors), (dx, no_tangent(info), d_factors)


def solve(call: Call, x_spec, transposed: bool, factors: DealtLU, b):
    """Return A^-1 b or A^-T b for b (N,) or (N, nrhs), as a linear function of b."""
    b = _typed(call, x_spec, b)

    def times(x):
        options = dict(call=call, x_spec=x_spec, transposed=transposed)
        return row_blocks.times(factors.data, x, **options)

    def getrs(transposed, b):
        return lu.getrs(factors, b, call=call, transposed=transposed, x_spec=x_spec)

    return lax.custom_linear_solve(
        times,
        b,
        solve=lambda _, b: getrs(transposed, b),
        transpose_solve=lambda _, b: getrs(not transposed, b),
    )


def solve_triangular(call: Call, x_spec, lower: bool, unit_diagonal: bool, transposed: bool, a, b):
    """Return (T^-1 b or T^-T b, overwritten A), for a triangle T of A."""
    which = dict(call=call, lower=lower, unit_diagonal=unit_diagonal)
    b = _typed(call, x_spec, b)

    def times(x):
        triangle = row_blocks.triangle(a, **which)
        return row_blocks.times(triangle, x, call=call, x_spec=x_spec, transposed=transposed)

    def trtrs(transposed, b):
        return lu.trtrs(a, b, transposed=transposed, x_spec=x_spec, **which)

    return lax.custom_linear_solve(
        times,
        b,
        solve=lambda _, b: trtrs(transposed, b),
        transpose_solve=lambda _, b: trtrs(not transposed, b),
        has_aux=True,
    )


def _typed(call: Call, x_spec, b):
    """Return b with the type of A x: JAX requires equal types to transpose the solve."""
    return programs.auto(lambda b: b, call.ranks, x_spec)(b)


# --- A^-1 -------------------------------------------------------------------------------------


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def inverse(call: Call, factors: DealtLU):
    """Return A^-1 in row blocks."""
    return lu.getri(factors, call=call)


@inverse.defjvp
def _(call, primals, tangents):
    (factors,), (d_factors,) = primals, tangents
    x = inverse(call, factors)
    return x, of_inverse(x, d_factors.data, call=call)


# --- determinants -----------------------------------------------------------------------------


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def slogdet(call: Call, factors: DealtLU):
    """Return (sign, logarithm of the absolute value) of det A = det A^T."""
    diagonal = lu.diagonal(factors, call=call)
    sign = lu.parity(factors) * jnp.prod(lax.sign(diagonal))
    return sign, jnp.sum(jnp.log(jnp.abs(diagonal)))


@slogdet.defjvp
def _(call, primals, tangents):
    # d log det A = tr(A^-1 dA); its imaginary part is d log sign.
    (factors,), (d_factors,) = primals, tangents
    sign, logarithm = slogdet(call, factors)
    d = row_blocks.trace_of_product(inverse(call, factors), d_factors.data, call=call)
    d_sign = sign * (d - d.real) if jnp.iscomplexobj(d) else varying.zeros_like(sign)
    return (sign, logarithm), (d_sign, d.real)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def determinant(call: Call, factors: DealtLU):
    """Return det A. Its derivative is NaN if A is singular: see `det`."""
    return lu.parity(factors) * jnp.prod(lu.diagonal(factors, call=call))


@determinant.defjvp
def _(call, primals, tangents):
    # d det A = det A tr(A^-1 dA)
    (factors,), (d_factors,) = primals, tangents
    value = determinant(call, factors)
    d = row_blocks.trace_of_product(inverse(call, factors), d_factors.data, call=call)
    return value, value * d


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def det(call: Call, a):
    """Return (det A, the factors of A).

    The derivative of det A is finite even if A is singular.
    """
    factors, _ = factor(call, a)
    return determinant(call, factors), factors


@functools.partial(det.defjvp, symbolic_zeros=True)
def _(call, primals, tangents):
    # d det A = tr(adj(A) dA)
    (a,), (da,) = primals, tangents
    factors, info = factor(call, a)
    adjugate = _adjugate(call, a, factors, info)
    da = row_blocks.from_matrix(instantiated(da, a), call=call)
    d_factors = DealtLU(da, no_tangent(factors.pivots), factors.tile)
    d_det = row_blocks.trace_of_product(adjugate, da, call=call)
    return (determinant(call, factors), factors), (d_det, d_factors)


def _adjugate(call: Call, a, factors: DealtLU, info):
    """Return adj(A) = det(A) A^-1 in row blocks.

    adj(A) is a polynomial of the elements of A. If a pivot is 0, it is therefore computed from A
    plus rounding errors, which is nonsingular if A has rank N - 1. If A has a lower rank, adj(A) is
    0.
    """

    def nearby():
        shifted = row_blocks.add_rounding_errors(a, call=call)
        return factor(call, shifted)

    factors, info = lax.cond(info == 0, lambda: (factors, info), nearby)
    adjugate = determinant(call, factors) * inverse(call, factors)
    return programs.auto(lambda m, info: jnp.where(info == 0, m, 0), call.ranks, call.ranks.rows)(
        adjugate, info
    )
