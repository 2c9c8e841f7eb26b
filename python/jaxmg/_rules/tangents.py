"""Tangents: symbolic zeros, and complex arrays as pairs of real ones."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero, zero_from_primal

from jaxmg._mesh import varying


def is_zero(tangent) -> bool:
    return isinstance(tangent, SymbolicZero)


def instantiated(tangent, primal):
    return varying.zeros_like(primal) if is_zero(tangent) else tangent


def no_tangent(primal):
    return zero_from_primal(primal, symbolic_zeros=True)


def reals(x):
    """Return x as real arrays: (real part, imaginary part) if complex."""
    return (x.real, x.imag) if jnp.iscomplexobj(x) else (x,)


def from_reals(parts):
    return lax.complex(*parts) if len(parts) == 2 else parts[0]


def constant(primals):
    """Return zero tangents, for values that are not differentiated."""
    return jax.tree.map(no_tangent, primals)
