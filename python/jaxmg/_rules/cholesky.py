"""Differentiation rules of Cholesky factors, solves, inverses and determinants.

The tangent of a factor is, by convention, the tangent dA of the factored matrix, in row blocks, not
the tangent of its opaque contents. Every rule below is written in terms of dA. The rules therefore
work to any order, the cotangent of a factor is the cotangent of A, and no factorisation is
differentiated.

The equations are from Giles, "An extended collection of matrix derivative results for forward and
reverse mode algorithmic differentiation" (Oxford, 2008), and for L from Murray, "Differentiation of
the Cholesky decomposition" (arXiv:1602.07527).
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from jaxmg._mesh import varying
from jaxmg._native.ffi import BACKWARD, BOTH, FORWARD
from jaxmg._programs import cholesky, row_blocks
from jaxmg._programs.call import Call
from jaxmg._programs.dealt import Dealt
from jaxmg._rules.tangents import from_reals, instantiated, is_zero, no_tangent, of_inverse, reals

# --- factors ----------------------------------------------------------------------------------


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def factor(call: Call, a):
    """Factor A; return (factor, info)."""
    return cholesky.potrf(a, call=call)


@functools.partial(factor.defjvp, symbolic_zeros=True)
def _(call, primals, tangents):
    (da,) = tangents
    result, info = factor(call, *primals)
    return (result, info), (_tangent(call, da, result), no_tangent(info))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def factor_shifted(call: Call, growth: float, max_tries: int, a, first):
    """Return (factor, info, shift) as `cholesky.potrf_shifted` does.

    The shift is a constant under differentiation.
    """
    return cholesky.potrf_shifted(a, first, growth=growth, max_tries=max_tries, call=call)


@functools.partial(factor_shifted.defjvp, symbolic_zeros=True)
def _(call, growth, max_tries, primals, tangents):
    result, info, shift = factor_shifted(call, growth, max_tries, *primals)
    d_result = _tangent(call, tangents[0], result)
    return (result, info, shift), (d_result, no_tangent(info), no_tangent(shift))


def _tangent(call: Call, da, result: Dealt) -> Dealt:
    """Return the tangent of a factor: dA in row blocks."""
    if is_zero(da):
        return Dealt(varying.zeros_like(result.data), result.tile)
    return Dealt(row_blocks.from_matrix(da, call=call), result.tile)


# --- A^-1 b -----------------------------------------------------------------------------------


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def factor_and_solve(call: Call, x_spec, a, b):
    """Solve A x = b; return (x, info, overwritten A)."""

    def posv(b):
        x, info, rest = cholesky.posv(a, from_reals(b), call=call, x_spec=x_spec)
        return reals(x), (info, rest)

    x, (info, rest) = _symmetric_solve(lambda x: x, b, posv, has_aux=True)
    return x, info, rest


@functools.partial(factor_and_solve.defjvp, symbolic_zeros=True)
def _(call, x_spec, primals, tangents):
    (a, b), (da, db) = primals, tangents
    dealt, info = factor(call, a)
    x = solve(call, x_spec, dealt, b)
    if not is_zero(da):
        da = row_blocks.from_matrix(da, call=call)
    dx = solve(call, x_spec, dealt, _residual(call, x_spec, db, da, x))
    # The factor overwrites A, and has its sharding.
    left = dealt.data, instantiated(da, dealt.data)
    rest, d_rest = (row_blocks.as_placed(m, call=call) for m in left)
    return (x, info, rest), (dx, no_tangent(info), d_rest)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def solve(call: Call, x_spec, dealt: Dealt, b):
    """Return A^-1 b for b (N,) or (N, nrhs)."""

    def potrs(b):
        x = cholesky.potrs(dealt, from_reals(b), call=call, sweeps=BOTH, x_spec=x_spec)
        return reals(x)

    return _symmetric_solve(lambda x: _times_a(call, x_spec, dealt, x), b, potrs)


@functools.partial(solve.defjvp, symbolic_zeros=True)
def _(call, x_spec, primals, tangents):
    # A x = b, so A dx = db - dA x.
    (dealt, b), (da, db) = primals, tangents
    x = solve(call, x_spec, dealt, b)
    return x, solve(call, x_spec, dealt, _residual(call, x_spec, db, da.data, x))


def _symmetric_solve(matvec, b, solve, has_aux=False):
    """Return ``solve(reals(b))``, which is (x, aux) with ``has_aux``, as a linear function of b.

    Over the reals, a Hermitian operator is symmetric; its transpose is the same solve, with the
    same derivatives. If ``matvec`` is not differentiated, it need not multiply.
    """
    result = lax.custom_linear_solve(
        lambda x: reals(matvec(from_reals(x))),
        reals(b),
        solve=lambda _, b: solve(b),
        transpose_solve=lambda _, b: solve(b),
        symmetric=True,
        has_aux=has_aux,
    )
    return (from_reals(result[0]), result[1]) if has_aux else from_reals(result)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _times_a(call: Call, x_spec, dealt, x):
    """Placeholder for A x in ``custom_linear_solve``, which uses only its derivative in A."""
    return x


@_times_a.defjvp
def _(call, x_spec, primals, tangents):
    (_, x), (da, _) = primals, tangents
    return x, row_blocks.times(da.data, x, call=call, x_spec=x_spec)


def _residual(call: Call, x_spec, db, dm, x, *, adjoint=False):
    """Return db - dM x."""
    if is_zero(dm):
        return instantiated(db, x)
    product = row_blocks.times(dm, x, call=call, x_spec=x_spec, adjoint=adjoint)
    return -product if is_zero(db) else db - product


# --- A^-1, log det A --------------------------------------------------------------------------


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def inverse(call: Call, dealt: Dealt):
    """Return A^-1 in row blocks."""
    return cholesky.potri(dealt, call=call)


@inverse.defjvp
def _(call, primals, tangents):
    (dealt,), (da,) = primals, tangents
    x = inverse(call, dealt)
    return x, of_inverse(x, da.data, call=call)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def log_determinant(call: Call, dealt: Dealt):
    """Return log det A = 2 sum(log(diag(L)))."""
    return 2 * jnp.sum(jnp.log(cholesky.diagonal(dealt, call=call).real))


@log_determinant.defjvp
def _(call, primals, tangents):
    # d log det A = tr(A^-1 dA), and A^-1 is Hermitian.
    (dealt,), (da,) = primals, tangents
    value = log_determinant(call, dealt)
    return value, row_blocks.inner(inverse(call, dealt), da.data, call=call)


# --- L, L^-1 b, L^-H b ------------------------------------------------------------------------


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def lower(call: Call, dealt: Dealt):
    """Return L in row blocks."""
    return cholesky.lower(dealt, call=call)


@lower.defjvp
def _(call, primals, tangents):
    # A = L L^H gives dL = L P(L^-1 dA L^-H), with P the lower triangle and half the diagonal.
    (dealt,), (da,) = primals, tangents
    triangle = lower(call, dealt)
    da = row_blocks.hermitian_part(da.data, call=call)
    inner = _times_inverse(call, triangle, dealt, da)  # dA L^-H
    inner = row_blocks.adjoint(inner, call=call)  # L^-1 dA
    inner = _times_inverse(call, triangle, dealt, inner)
    inner = row_blocks.lower_half(inner, call=call)
    return triangle, row_blocks.product(triangle, inner, linear_in=1, call=call)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def solve_triangular(call: Call, x_spec, sweeps: int, dealt: Dealt, b):
    """Return L^-1 b (FORWARD) or L^-H b (BACKWARD) for b (N,) or (N, nrhs)."""
    return _sweep(call, x_spec, sweeps, dealt, lambda x: x, b)


@functools.partial(solve_triangular.defjvp, symbolic_zeros=True)
def _(call, x_spec, sweeps, primals, tangents):
    # L x = b, so L dx = db - dL x; L^H x = b, so L^H dx = db - dL^H x.
    (dealt, b), (da, db) = primals, tangents
    x = solve_triangular(call, x_spec, sweeps, dealt, b)
    if is_zero(da.data):
        triangle, dl = lower(call, dealt), da.data
    else:
        triangle, dl = jax.jvp(functools.partial(lower, call), (dealt,), (da,))
    adjoint = sweeps == BACKWARD
    residual = _residual(call, x_spec, db, dl, x, adjoint=adjoint)

    def times(x):
        return row_blocks.times(triangle, x, call=call, x_spec=x_spec, adjoint=adjoint)

    return x, _sweep(call, x_spec, sweeps, dealt, times, residual)


def _sweep(call: Call, x_spec, sweeps: int, dealt, matvec, b):
    """Return L^-1 b or L^-H b as a linear function of b, with `matvec` as in `_symmetric_solve`."""

    def potrs(sweeps, b):
        return cholesky.potrs(dealt, b, call=call, sweeps=sweeps, x_spec=x_spec)

    return lax.custom_linear_solve(
        matvec,
        b,
        solve=lambda _, b: potrs(sweeps, b),
        transpose_solve=lambda _, b: potrs(_other(sweeps), b.conj()).conj(),
    )


def _times_inverse(call: Call, triangle, dealt, r):
    """Return R L^-H for row blocks R; `triangle` is L, for differentiation."""

    def potrs(sweeps, r):
        return cholesky.potrs_rows(dealt, r, call=call, sweeps=sweeps)

    def times(r):
        adjoint = row_blocks.adjoint(triangle, call=call)
        return row_blocks.product(r, adjoint, linear_in=0, call=call)

    return lax.custom_linear_solve(
        times,
        r,
        solve=lambda _, r: potrs(FORWARD, r),
        transpose_solve=lambda _, r: potrs(BACKWARD, r.conj()).conj(),
    )


def _other(sweeps: int) -> int:
    return BACKWARD if sweeps == FORWARD else FORWARD
