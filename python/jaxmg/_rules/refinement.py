"""Solves with a refined factor of lower precision, with their derivatives.

The tangent of such a factor is, by convention, the tangent dA of the matrix that it holds. Solves
that derivatives need are refined with the same factor.
"""

import dataclasses
import functools

import jax
from jax import lax

from jaxmg._mesh import programs, varying
from jaxmg._planning.precision import Precision
from jaxmg._programs import refinement, row_blocks
from jaxmg._programs.call import Call
from jaxmg._programs.refinement import LowFactor
from jaxmg._rules.tangents import from_reals, instantiated, is_zero, no_tangent, reals


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def factor(call: Call, positive: bool, precision: Precision, a) -> LowFactor:
    """Factor A in lower precision."""
    return refinement.factor(a, positive=positive, precision=precision, call=call)


@functools.partial(factor.defjvp, symbolic_zeros=True)
def _(call, positive, precision, primals, tangents):
    (da,) = tangents
    result = factor(call, positive, precision, *primals)
    d_result = jax.tree.map(no_tangent, result)
    return result, dataclasses.replace(d_result, a=da)


def solve(call: Call, x_spec, transposed: bool, low: LowFactor, b):
    """Solve A x = b or A^T x = b; return (x, info, iterations)."""
    x, info, iterations, _ = _solve(call, x_spec, transposed, False, low, b)
    return x, info, iterations


def solve_in_place(call: Call, x_spec, low: LowFactor, b):
    """Solve A x = b; return (x, info, iterations, A, possibly overwritten)."""
    return _solve(call, x_spec, False, True, low, b)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2, 3))
def _solve(call: Call, x_spec, transposed: bool, rest: bool, low: LowFactor, b):
    b = programs.auto(lambda b: b, call.ranks, x_spec)(b)

    def run(transposed, b):
        b = from_reals(b) if low.positive else b
        options = dict(call=call, transposed=transposed, rest=rest, x_spec=x_spec)
        x, *others = refinement.solve(low, b, **options)
        return (reals(x) if low.positive else x), tuple(others)

    if low.positive:  # Over the reals, a Hermitian matrix is symmetric.
        x, others = lax.custom_linear_solve(
            lambda x: x,
            reals(b),
            solve=lambda _, b: run(False, b),
            transpose_solve=lambda _, b: run(False, b),
            symmetric=True,
            has_aux=True,
        )
        x = from_reals(x)
    else:
        x, others = lax.custom_linear_solve(
            lambda x: row_blocks.times(
                row_blocks.from_matrix(low.a, call=call),
                x,
                call=call,
                x_spec=x_spec,
                transposed=transposed,
            ),
            b,
            solve=lambda _, b: run(transposed, b),
            transpose_solve=lambda _, b: run(not transposed, b),
            has_aux=True,
        )
    return x, *others, *(() if rest else (None,))


@functools.partial(_solve.defjvp, symbolic_zeros=True)
def _(call, x_spec, transposed, rest, primals, tangents):
    # A x = b, so A dx = db - dA x.
    (low, b), (d_low, db) = primals, tangents
    x, info, iterations, left = _solve(call, x_spec, transposed, rest, low, b)
    da, db = d_low.a, instantiated(db, x)
    if not is_zero(da):
        da = row_blocks.from_matrix(da, call=call)
        db = db - row_blocks.times(da, x, call=call, x_spec=x_spec, transposed=transposed)
    dx = _solve(call, x_spec, transposed, False, low, db)[0]
    d_left = None if left is None else varying.zeros_like(left)
    return (x, info, iterations, left), (dx, no_tangent(info), no_tangent(iterations), d_left)
