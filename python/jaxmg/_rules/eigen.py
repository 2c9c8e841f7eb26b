"""Differentiation rules of eigenvalues and eigenvectors.

With A V = B V W and V^H B V = I, the derivatives are dV = V K and

    dw_j = g_jj,    K_ij = g_ij / (w_j - w_i),    K_jj = -(V^H dB V)_jj / 2,
    g_ij = (V^H dA V)_ij - (V^H dB V)_ij w_j

(for B = I: Giles, "An extended collection of matrix derivative results for forward and reverse mode
algorithmic differentiation", Oxford, 2008). Only the Hermitian parts of dA and dB count. The phase
of an eigenvector is not determined: K_jj is taken to be real, as in JAX. Where eigenvalues are
equal, K_ij is infinite, as in JAX.

The eigenvectors are the rows of Z = V^H (see `_programs.eigen`). Row j of Z dA Z^H and of
dZ = K^H Z is therefore computed from row j of Z and all rows of Z.
"""

import functools

import jax
import jax.numpy as jnp

from jaxmg._mesh import varying
from jaxmg._programs import eigen, row_blocks
from jaxmg._programs.call import Call
from jaxmg._programs.dealt import Dealt
from jaxmg._programs.eigen import Part
from jaxmg._programs.row_blocks import product, scaled
from jaxmg._rules.tangents import constant, is_zero


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2, 3))
def eigh(call: Call, uplo: int, part: Part, as_columns: bool, matrices):
    """Return (w, V or Z, aside) as `_programs.eigen.eigh` does.

    `matrices` is (A,), (A, B) or (A, factor of B). The tangent of a factor is the tangent of B.
    """
    return eigen.eigh(matrices, call=call, uplo=uplo, part=part, as_columns=as_columns)


@functools.partial(eigh.defjvp, symbolic_zeros=True)
def _(call, uplo, part, as_columns, primals, tangents):
    ((a, *_),) = primals
    everything = Part(0, a.shape[1])
    # The derivative of any eigenvector requires all of them.
    all_w, all_z, aside = eigh(call, uplo, everything, False, *primals)
    w, z = all_w, all_z
    if part != everything:
        w, z = part.of(all_w), row_blocks.rows(all_z, part.first, part.count, call=call)
    g, db = _perturbations(call, w, z, *tangents)
    dw = row_blocks.inner_rows(z, g, call=call)[: part.count]
    g = product(g, row_blocks.adjoint(all_z, call=call), linear_in=0, call=call)
    dz = product(_over_gaps(call, g, part, all_w), all_z, linear_in=0, call=call)
    if db is not None:
        db = row_blocks.inner_rows(z, db, call=call)[: part.count]
        dz = dz - scaled(z, db / 2, call=call)
    if as_columns:
        z, dz = (row_blocks.adjoint_columns(m, call=call) for m in (z, dz))
    return (w, z, aside), (dw, dz, constant(aside))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def eigh_between(call: Call, uplo: int, size: int, matrices, bounds):
    """Return (w, V, count, aside) as `_programs.eigen.eigh_between` does."""
    return eigen.eigh_between(matrices, bounds, call=call, uplo=uplo, size=size, as_columns=True)


@eigh_between.defjvp
def _(call, uplo, size, primals, tangents):
    return jax.jvp(functools.partial(_chosen_from_all, call, uplo, size), primals, tangents)


def _chosen_from_all(call: Call, uplo: int, size: int, matrices, bounds):
    """Return the result of `eigh_between` from all eigenvectors, which its derivative requires."""
    n = matrices[0].shape[1]
    w, z, aside = eigh(call, uplo, Part(0, n), False, matrices)
    first, count = eigen.between(aside.spectrum, bounds)
    # On failure all eigenvalues are NaN, and none is between the bounds.
    kept = jnp.where(aside.info == 0, count, size)
    z = row_blocks.rows(z, first, min(size, n), kept=kept, call=call)
    w = eigen.values_between(w, first, count, size)
    return w, row_blocks.adjoint_columns(z, call=call), count, aside


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def eigvals(call: Call, uplo: int, part: Part, matrices):
    """Return (w, aside) as `_programs.eigen.eigvals` does, for `matrices` as in `eigh`."""
    return eigen.eigvals(matrices, call=call, uplo=uplo, part=part)


@functools.partial(eigvals.defjvp, symbolic_zeros=True)
def _(call, uplo, part, primals, tangents):
    w, z, aside = eigh(call, uplo, part, False, *primals)
    g, _ = _perturbations(call, w, z, *tangents)
    dw = row_blocks.inner_rows(z, g, call=call)[: part.count]
    return (w, aside), (dw, constant(aside))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def hermitian(call: Call, uplo: int, a):
    """Return A in row blocks, from one triangle."""
    return row_blocks.from_triangle(a, upper=uplo == eigen.UPPER, call=call)


@hermitian.defjvp
def _(call, uplo, primals, tangents):
    return hermitian(call, uplo, *primals), _hermitian_part(call, *tangents)


def _perturbations(call: Call, w, z, tangents):
    """Return Z dA - W Z dB, and Z dB or None, for rows of Z and their eigenvalues W."""
    of_a, *of_b = (_tangent_of_matrix(call, tangent) for tangent in tangents)
    total, of_b = varying.zeros_like(z), of_b[0] if of_b else None
    if of_a is not None:
        total = product(z, of_a, linear_in=1, call=call)
    if of_b is not None:
        of_b = product(z, of_b, linear_in=1, call=call)
        total = total - scaled(of_b, w, call=call)
    return total, of_b


def _tangent_of_matrix(call: Call, tangent):
    """Return the Hermitian part of the tangent of a matrix or of its factor, or None if zero."""
    if isinstance(tangent, Dealt):
        blocks = tangent.data
        return None if is_zero(blocks) else row_blocks.hermitian_part(blocks, call=call)
    return None if is_zero(tangent) else _hermitian_part(call, tangent)


def _hermitian_part(call: Call, da):
    return row_blocks.hermitian_part(row_blocks.from_matrix(da, call=call), call=call)


def _over_gaps(call: Call, g, part: Part, w):
    """Return K^H without its diagonal, in the rows of `part`."""

    def gaps(row, column, of_row, of_column):
        same = (row + part.first == column) | (row >= part.count)
        return jnp.where(same, 0, 1 / jnp.where(same, 1, of_row - of_column))

    return row_blocks.weighted(g, gaps, part.of(w), w, call=call)
