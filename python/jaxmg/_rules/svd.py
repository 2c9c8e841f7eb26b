"""Singular value and polar decompositions, and functions of them, with their derivatives.

Matrices have at least as many rows as columns, m >= n; callers pass the adjoint of others. A tall
matrix is A = Q R first, and R is decomposed; one CPU leaves slightly rectangular ones to LAPACK.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmg._mesh import programs
from jaxmg._programs import qr as qr_programs
from jaxmg._programs import row_blocks, svd
from jaxmg._programs.call import Call
from jaxmg._programs.eigen import UPPER, Part
from jaxmg._programs.row_blocks import product, scaled, weighted
from jaxmg._programs.svd import Aside
from jaxmg._rules import eigen as eigen_rules
from jaxmg._rules import qr, spectral
from jaxmg._rules.tangents import constant, from_reals, instantiated, reals

# --- U, s, V^H --------------------------------------------------------------------------------


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def decompose(call: Call, a):
    """Return (U, s, V^H, aside) of an m x n matrix A, U (m x n) and V^H in row blocks."""
    m, n = a.shape
    if m == n:
        s, uh, vh, aside = svd.gesvd(a, call=call, vectors=True)
        return row_blocks.adjoint(uh, call=call), s, vh, aside
    if svd.has_gesdd(a.shape, a.dtype, call=call, vectors=True):
        s, u, vh, aside = svd.gesdd(a, call=call, vectors=True)
        return u, s, vh, aside
    q, r = qr.decompose(call, a)
    s, uh, vh, aside = svd.gesvd(r, call=call, vectors=True)
    u = product(q, row_blocks.adjoint(uh, call=call), linear_in=1, call=call)
    return u, s, vh, Aside(aside.info, None)


@functools.partial(decompose.defjvp, symbolic_zeros=True)
def _(call, primals, tangents):
    # With C = U^H dA V and F_ij = 1 / (s_j^2 - s_i^2):
    #   ds = Re diag(C),  dV = V (F * (S C + C^H S)),
    #   dU = U (F * (C S + S C^H) + i Im diag(C) / s) + (I - U U^H) dA V S^-1
    # (Townsend, "Differentiating the singular value decomposition", 2016). The phases of singular
    # vectors are not determined: the derivative of V has a zero diagonal, as in JAX.
    (a,), (da,) = primals, tangents
    m, n = a.shape
    u, s, vh, aside = decompose(call, a)
    da = instantiated(da, a)
    da_v = product(_rows(da, call), row_blocks.adjoint(vh, call=call), linear_in=0, call=call)
    c = product(row_blocks.adjoint(u, m, call=call), da_v, linear_in=1, call=call)
    ds = row_blocks.diagonal(c, call=call).real
    of_u = _over_gaps(call, weighted(c, _of_column, s, s, call=call), s)
    of_v = _over_gaps(call, scaled(c, s, call=call), s)
    if jnp.iscomplexobj(c):
        of_u = of_u + _phases(call, c, s)
    du = product(u, of_u, linear_in=1, call=call)
    if m > n:
        rest = da_v - product(u, c, linear_in=1, call=call)
        du = du + weighted(rest, lambda i, j, x, y: 1 / y, s, s, call=call)
    dvh = -product(of_v, vh, linear_in=0, call=call)  # of_v is skew-Hermitian
    return (u, s, vh, aside), (du, ds, dvh, constant(aside))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def values(call: Call, a):
    """Return (s, aside) of an m x n matrix A."""
    m, n = a.shape
    if m == n:
        return svd.gesvd(a, call=call, vectors=False)
    if svd.has_gesdd(a.shape, a.dtype, call=call, vectors=False):
        return svd.gesdd(a, call=call, vectors=False)
    s, aside = svd.gesvd(qr.upper(call, a), call=call, vectors=False)
    return s, Aside(aside.info, None)


@functools.partial(values.defjvp, symbolic_zeros=True)
def _(call, primals, tangents):
    (a,), (da,) = primals, tangents
    u, s, vh, aside = decompose(call, a)
    da = instantiated(da, a)
    da_v = product(_rows(da, call), row_blocks.adjoint(vh, call=call), linear_in=0, call=call)

    def diagonal(u, da_v):
        return jnp.sum((u.conj() * da_v).real, axis=0)

    ds = programs.auto(diagonal, call.ranks, jax.sharding.PartitionSpec(None))(u, da_v)
    return (s, aside), (ds, constant(aside))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def complement(call: Call, u):
    """Return m - n orthonormal columns, orthogonal to the columns of the m x n matrix U."""
    m, n = u.shape
    factor, _ = qr.factor(call, qr_programs.turned(u, call=call))

    def last(u):
        return jnp.eye(m, m - n, -n, dtype=u.dtype) + 0 * u[:1, :1]

    columns = programs.auto(last, call.ranks, None)(u)
    return qr.times_q(call, None, False, factor, columns)


@complement.defjvp
def _(call, primals, tangents):
    raise NotImplementedError(
        "singular vectors of full_matrices=True have no derivative; pass full_matrices=False"
    )


def hermitian(call: Call, a):
    """Return (U, s, V^H, aside) of a Hermitian matrix A = V diag(w) V^H."""
    n = a.shape[1]
    w, z, aside = eigen_rules.eigh(call, UPPER, Part(0, n), False, (a,))
    order = jnp.argsort(-jnp.abs(w))
    w, z = w[order], svd.take_rows(z, order, call=call)
    signs = jnp.where(w < 0, -1, 1).astype(w.dtype)
    u = row_blocks.adjoint(scaled(z, signs, call=call), call=call)
    return u, jnp.abs(w), z, Aside(aside.info, aside.rest)


def hermitian_values(call: Call, a):
    """Return (s, aside) of a Hermitian matrix."""
    w, aside = eigen_rules.eigvals(call, UPPER, Part(0, a.shape[1]), (a,))
    return -jnp.sort(-jnp.abs(w)), Aside(aside.info, aside.rest)


def _of_column(row, column, of_row, of_column):
    del row, column
    return of_column + 0 * of_row


def _over_gaps(call: Call, m, s):
    """Return F * (M + M^H), with zeros on the diagonal."""

    def gaps(row, column, of_row, of_column):
        same = (row == column) | (row >= s.size)
        gap = (of_column + of_row) * (of_column - of_row)
        return jnp.where(same, 0, 1 / jnp.where(same, 1, gap))

    return weighted(2 * row_blocks.hermitian_part(m, call=call), gaps, s, s, call=call)


def _phases(call: Call, c, s):
    """Return i Im diag(C) / s."""

    def over_s(row, column, of_row, of_column):
        regular = (row == column) & (of_row > 0)
        return jnp.where(regular, 1 / jnp.where(regular, of_row, 1), 0 * of_column)

    return weighted(c - c.real, over_s, s, s, call=call)


def _rows(a, call: Call):
    """Return a matrix in row blocks."""
    return row_blocks.from_matrix(a, call=call)


# --- A = U H ----------------------------------------------------------------------------------


def polar(call: Call, a):
    """Return (U, H, info) with A = U H of an m x n matrix A, in row blocks."""
    if a.shape[0] == a.shape[1]:
        return square_polar(call, False, a)
    if svd.gives_polar(a.shape, a.dtype, call=call):
        return _tall_polar(call, a)
    return _polar_by_qr(call, a)


def _polar_by_qr(call: Call, a):
    q, r = qr.decompose(call, a)
    u, h, info = square_polar(call, False, row_blocks.to_matrix(r, call=call))
    return product(q, u, linear_in=1, call=call), h, info


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _tall_polar(call: Call, a):
    return svd.polar_by_gesdd(a, call=call, left=False, factor_h=True)


@_tall_polar.defjvp
def _(call, primals, tangents):
    (u, h, info), (du, dh, _) = jax.jvp(functools.partial(_polar_by_qr, call), primals, tangents)
    return (u, h, info), (du, dh, constant(info))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def square_polar(call: Call, left: bool, a):
    """Return (U, H, info) with A = U H, or A = H U if `left`, in row blocks."""
    if svd.gives_polar(a.shape, a.dtype, call=call):
        return svd.polar_by_gesdd(a, call=call, left=left, factor_h=True)
    return svd.polar(a, call=call, left=left, factor_h=True)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def unitary_factor(call: Call, a):
    """Return (U, info) of a square matrix, in row blocks."""
    if svd.gives_polar(a.shape, a.dtype, call=call):
        return svd.polar_by_gesdd(a, call=call, left=False, factor_h=False)
    return svd.polar(a, call=call, left=False, factor_h=False)


@functools.partial(square_polar.defjvp, symbolic_zeros=True)
def _(call, left, primals, tangents):
    # A = U H, and W = U^H dU is skew-Hermitian: H W + W H = U^H dA - dA^H U, dH = U^H dA - W H.
    # A = H U: W = dU U^H, H W + W H = dA U^H - U dA^H, dH = dA U^H - H W.
    (a,), (da,) = primals, tangents
    u, h, info = square_polar(call, left, a)
    da, uh = _rows(instantiated(da, a), call), row_blocks.adjoint(u, call=call)
    e = product(da, uh, linear_in=0, call=call) if left else product(uh, da, linear_in=1, call=call)
    skew = e - row_blocks.adjoint(e, call=call)
    w = _sylvester(call, h, -skew if left else skew)
    w = -w if left else w
    if left:
        du = product(w, u, linear_in=0, call=call)
        dh = e - product(h, w, linear_in=1, call=call)
    else:
        du = product(u, w, linear_in=1, call=call)
        dh = e - product(w, h, linear_in=0, call=call)
    return (u, h, info), (du, dh, constant(info))


@functools.partial(unitary_factor.defjvp, symbolic_zeros=True)
def _(call, primals, tangents):
    (a,), (da,) = primals, tangents
    (u, _, info), (du, *_) = jax.jvp(
        functools.partial(square_polar, call, False), (a,), (instantiated(da, a),)
    )
    return (u, info), (du, constant(info))


def _sylvester(call: Call, h, r):
    """Solve H Y + Y H = R for a Hermitian positive semidefinite H; no component in its kernel."""
    w, z, _ = spectral.decomposition(call, UPPER, row_blocks.to_matrix(h, call=call))

    def times_h(y):
        y = from_reals(y)
        left, right = product(h, y, linear_in=1, call=call), product(y, h, linear_in=0, call=call)
        return reals(left + right)

    def over_sums(r):
        def weights(row, column, of_row, of_column):
            del row, column
            total = of_row + of_column
            return jnp.where(total > 0, 1 / jnp.where(total > 0, total, 1), 0)

        of_h = jnp.maximum(w, 0)
        v = row_blocks.adjoint(z, call=call)
        y = product(product(z, from_reals(r), linear_in=1, call=call), v, linear_in=0, call=call)
        y = weighted(y, weights, of_h, of_h, call=call)
        return reals(product(v, product(y, z, linear_in=0, call=call), linear_in=1, call=call))

    # For Hermitian H, the operator is symmetric over the reals.
    y = lax.custom_linear_solve(
        times_h,
        reals(r),
        solve=lambda _, r: over_sums(r),
        transpose_solve=lambda _, r: over_sums(r),
        symmetric=True,
    )
    return from_reals(y)


# --- pseudo-inverses --------------------------------------------------------------------------
#
# They are functions only of A. Its decomposition is computed once for them and their derivatives,
# which are finite where singular values are equal.


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def decomposition(call: Call, a):
    """Return (U, s, V^H, aside) of A, constants under differentiation."""
    return decompose(call, a)


@functools.partial(decomposition.defjvp, symbolic_zeros=True)
def _(call, primals, tangents):
    results = decomposition(call, *primals)
    return results, constant(results)


def inverse_values(rtol, s):
    """Return (1 / s or 0, rank): singular values up to rtol times the largest one count as 0."""
    kept = s > rtol * jnp.max(s, initial=0)
    return jnp.where(kept, 1 / jnp.where(kept, s, 1), 0 * s), jnp.sum(kept)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def pseudo_inverse(call: Call, rtol, a, u, s, vh):
    """Return the n x m pseudo-inverse P of a matrix A in row blocks, as `u` and `vh` are."""
    inverse, _ = inverse_values(rtol, s)
    uh = scaled(row_blocks.adjoint(u, a.shape[0], call=call), inverse, call=call)
    return product(row_blocks.adjoint(vh, call=call), uh, linear_in=1, call=call)


@pseudo_inverse.defjvp
def _(call, primals, tangents):
    # Golub and Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares
    # problems whose variables separate" (SIAM J. Numer. Anal. 10, 1973), among matrices of the
    # same rank: dP = -P dA P + P P^H dA^H (I - A P) + (I - P A) dA^H P^H P.
    rtol, a, u, s, vh = primals
    da, m, n = tangents[1], a.shape[0], s.size
    p = pseudo_inverse(call, rtol, a, u, s, vh)
    ph, dah = row_blocks.adjoint(p, n, call=call), row_blocks.adjoint(_rows(da, call), m, call=call)
    a, da = _rows(a, call), _rows(da, call)

    def times(x, y, linear_in):
        return product(x, y, linear_in=linear_in, call=call)

    inner = times(times(p, ph, 1), dah, 1)
    outer = times(times(dah, ph, 0), p, 0)
    dp = inner - times(times(inner, a, 0), p, 0) + outer - times(times(p, a, 1), outer, 1)
    return p, dp - times(times(p, da, 1), p, 0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def apply_pseudo_inverse(call: Call, adjoint: bool, rtol, a, u, s, vh, b):
    """Return P b for b (m, k) or P^H b for b (n, k); `u` and `vh` are in row blocks.

    P is not formed, except by derivatives.
    """
    inverse, _ = inverse_values(rtol, s)
    u = qr_programs.to_matrix(u, a.shape[0], call=call)
    vh = qr_programs.to_matrix(vh, s.size, call=call)
    return by_vectors(call, adjoint, inverse, u, vh, b)


@apply_pseudo_inverse.defjvp
def _(call, adjoint, primals, tangents):
    # Of P b by the derivative of P above, of P^H b by its adjoint. A linear function of a tangent
    # is transposed in terms of P as a function of A: derivatives of any order are correct.
    rtol, a, u, s, vh, b = primals
    da, db = tangents[1], tangents[5]
    p = pseudo_inverse(call, rtol, a, u, s, vh)
    p = qr_programs.to_matrix(p, s.size, call=call)

    def tangent(p, a, da, b, db):
        ph, ah, dah = p.conj().T, a.conj().T, da.conj().T
        if adjoint:
            p, ph, a, ah, da, dah = ph, p, ah, a, dah, da
        x = _matmul(p, b)
        of_a = _matmul(dah, _matmul(ph, x))
        rest = _matmul(p, _matmul(ph, _matmul(dah, b - _matmul(a, x))))
        dx = _matmul(p, db - _matmul(da, x)) + of_a - _matmul(p, _matmul(a, of_a)) + rest
        return x, dx

    return programs.auto(tangent, call.ranks, (None, None))(p, a, da, b, db)


def _matmul(a, b):
    # GPUs would round float32 operands to TF32.
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def by_vectors(call: Call, adjoint: bool, inverse, u, vh, b):
    """Return P b or P^H b as `apply_pseudo_inverse` does, without its derivative."""

    def all_ranks(inverse, u, vh, b):
        left, right = (u, vh) if adjoint else (vh.conj().T, u.conj().T)
        return _matmul(left, inverse[:, None].astype(b.dtype) * _matmul(right, b))

    return programs.auto(all_ranks, call.ranks, None)(inverse, u, vh, b)


def default_rtol(shape, dtype) -> float:
    """Return max(m, n) eps, which separates singular values from rounding errors."""
    return max(shape) * float(np.finfo(dtype).eps)
