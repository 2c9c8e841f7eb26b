"""Tangents: symbolic zeros, complex arrays as pairs of real ones, and tangents of inverses."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero, zero_from_primal

from jaxmg._mesh import varying
from jaxmg._programs import row_blocks
from jaxmg._programs.call import Call


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


def of_inverse(x, da, *, call: Call):
    """Return the tangent of X = A^-1, all in row blocks: A X = I, so dX = -X dA X."""
    dx = row_blocks.product(x, da, linear_in=1, call=call)
    return -row_blocks.product(dx, x, linear_in=0, call=call)
