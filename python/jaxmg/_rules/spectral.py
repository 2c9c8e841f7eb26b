"""Functions of a Hermitian matrix by its eigenvectors, with derivatives free of spectral gaps.

They are functions only of A, in row blocks `m`. `w` and `z` are its decomposition Z^H W Z from
`decomposition`, computed once for the function and all of its derivatives. In terms of A, these
derivatives are finite where eigenvalues are equal, unlike the derivatives of eigenvectors.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmg._programs import eigen, row_blocks
from jaxmg._programs.call import Call
from jaxmg._programs.eigen import Part
from jaxmg._programs.row_blocks import product, scaled
from jaxmg._rules.tangents import constant, from_reals, reals


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def decomposition(call: Call, uplo: int, a):
    """Return (w, Z, aside) of A, constants under differentiation."""
    everything = Part(0, a.shape[1])
    return eigen.eigh((a,), call=call, uplo=uplo, part=everything, as_columns=False)


@functools.partial(decomposition.defjvp, symbolic_zeros=True)
def _(call, uplo, primals, tangents):
    results = decomposition(call, uplo, *primals)
    return results, constant(results)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def pseudo_inverse(call: Call, rtol, m, w, z):
    """Return A^+ in row blocks; eigenvalues up to rtol times the largest one count as 0."""
    kept = jnp.abs(w) > rtol * _norm(w)
    return _of_eigenvalues(call, jnp.where(kept, 1 / jnp.where(kept, w, 1), w * 0), z)


@pseudo_inverse.defjvp
def _(call, primals, tangents):
    # Golub and Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares
    # problems whose variables separate" (SIAM J. Numer. Anal. 10, 1973), for a Hermitian A:
    # dX = -X dA X + X X dA Q + Q dA X X with Q = I - A X, as long as the rank does not change.
    rtol, m, w, z = primals
    _, dm, _, _ = tangents
    x = pseudo_inverse(call, rtol, m, w, z)
    x_dm = product(x, dm, linear_in=1, call=call)
    outer = product(x, x_dm, linear_in=1, call=call)  # X X dA
    inside = product(outer, m, linear_in=0, call=call)
    outer = outer - product(inside, x, linear_in=0, call=call)  # X X dA Q
    dx = outer + row_blocks.adjoint(outer, call=call)
    return x, dx - product(x_dm, x, linear_in=0, call=call)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def square_root(call: Call, m, w, z):
    """Return A^(1/2) in row blocks; NaN if an eigenvalue is negative beyond rounding."""
    return _of_eigenvalues(call, _roots(w), z)


@square_root.defjvp
def _(call, primals, tangents):
    # X X = A, so X dX + dX X = dA.
    return square_root(call, *primals), _sylvester(call, *primals, tangents[0])


def _sylvester(call: Call, m, w, z, r):
    """Solve X Y + Y X = R for X = A^(1/2); Y has no component in the kernel of A."""
    x = square_root(call, m, w, z)

    def times_x(y):
        y = from_reals(y)
        left, right = product(x, y, linear_in=1, call=call), product(y, x, linear_in=0, call=call)
        return reals(left + right)

    def solve(r):
        return reals(_over_sums_of_roots(call, w, z, from_reals(r)))

    # For Hermitian X, the operator is symmetric over the reals.
    y = lax.custom_linear_solve(
        times_x,
        reals(r),
        solve=lambda _, r: solve(r),
        transpose_solve=lambda _, r: solve(r),
        symmetric=True,
    )
    return from_reals(y)


def _over_sums_of_roots(call: Call, w, z, r):
    """Return Y with (V^H Y V)_ij = (V^H R V)_ij / (sqrt(w_i) + sqrt(w_j)), or 0 for 0 / 0."""

    def weights(row, column, of_row, of_column):
        del row, column
        total = of_row + of_column
        return jnp.where(total > 0, 1 / jnp.where(total > 0, total, 1), total)

    roots = jnp.where(w > _rounding(w), _roots(w), w * 0)
    v = row_blocks.adjoint(z, call=call)
    y = product(product(z, r, linear_in=1, call=call), v, linear_in=0, call=call)
    y = row_blocks.weighted(y, weights, roots, roots, call=call)
    return product(v, product(y, z, linear_in=0, call=call), linear_in=1, call=call)


def _of_eigenvalues(call: Call, values, z):
    """Return V diag(values) V^H in row blocks."""
    v, scaled_z = row_blocks.adjoint(z, call=call), scaled(z, values, call=call)
    return product(v, scaled_z, linear_in=1, call=call)


def _roots(w):
    """Return the square roots of eigenvalues; NaN for eigenvalues negative beyond rounding."""
    return jnp.sqrt(jnp.where(jnp.abs(w) > _rounding(w), w, jnp.maximum(w, 0)))


def _rounding(w):
    """Return a bound on the rounding error of an eigenvalue: N eps times the largest modulus."""
    return w.size * np.finfo(w.dtype).eps * _norm(w)


def _norm(w):
    return jnp.max(jnp.abs(w), initial=0)
