"""Polar decompositions."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmg._arguments import as_matrix, check_matrix, positive_int
from jaxmg._linalg.options import Options, make_call, takes
from jaxmg._linalg.qr import result_spec
from jaxmg._mesh import placement, programs
from jaxmg._mesh.finding import ranks_of
from jaxmg._programs import qr as qr_programs
from jaxmg._programs import row_blocks
from jaxmg._programs.call import Call, Placement
from jaxmg._programs.row_blocks import product
from jaxmg._rules import svd as rules

__all__ = ["PolarResult", "polar"]

_SIDES = ("right", "left")
_METHODS = ("qdwh", "newton_schulz")


class PolarResult(NamedTuple):
    """The unitary and the Hermitian factor."""

    unitary: jax.Array
    hermitian: jax.Array


@takes("return_info", "tile", "backend", "donate", "workspace_limit")
def polar(a, side="right", method="qdwh", *, steps=None, compute_h=True, options: Options):
    """Polar decomposition ``a = u @ h`` or ``a = h @ u``: u has orthonormal columns or rows.

    Parameters
    ----------
    a : (M, N) array
        As for `svd`; with "newton_schulz" also float16 or bfloat16.
    side : {"right", "left"}
        Side of the Hermitian factor.
    method : {"qdwh", "newton_schulz"}
        "qdwh" is accurate to rounding errors for every matrix. "newton_schulz" applies `steps`
        steps of a polynomial iteration, matrix products alone in the dtype of `a`: an approximate
        orthogonalisation, as optimisers use it for updates.
    steps : int, optional
        Number of steps of "newton_schulz", 5 by default.
    compute_h : bool
        Return the Hermitian factor; without it, the result is `u` alone.
    {options}

    Returns
    -------
    unitary : (M, N) array
        The nearest matrix with orthonormal columns (rows if M < N). If `a` is singular, orthonormal
        all the same, but not unique. It has the sharding of `a`.
    hermitian : (N, N) or, with ``side="left"``, (M, M) array
        Hermitian positive semidefinite. It has the sharding of `a` where that divides it evenly.
    info : () int32 array
        Only with ``return_info=True``: 0 on success. Otherwise all results are NaN: -4 if `a` holds
        NaN or infinity, above 0 if the iteration did not converge. Always 0 for "newton_schulz".

    With the Hermitian factor and without `info`, the result is a `PolarResult`.

    Raises
    ------
    ValueError
        If `a` is not a matrix, `side` or `method` is unknown, `steps` is given with "qdwh", `tile`
        or `workspace_limit` is below 1, or `backend` is unknown or does not support this call.
    TypeError
        If the dtype is not supported.
    RuntimeError
        If the native library for the devices' platform, or that of `backend`, cannot be loaded.

    Notes
    -----
    "qdwh" is the QDWH iteration with Cholesky factors (see `svd`). A matrix that is not square is
    factored by `qr` first, or its adjoint is. Derivatives solve a Sylvester equation with the
    eigenvectors of the Hermitian factor, and require a full rank. ``vmap`` decomposes matrices one
    after another, each on all devices.

    "newton_schulz" iterates X <- a X + b (X X^H) X + c (X X^H)^2 X on ``a / norm(a)``. The
    coefficients of the first steps, all but two and at most eight, map small singular values
    quickly into [0.7, 1.2] (Jordan et al., "Muon: an optimizer for hidden layers in neural
    networks", 2024); all others converge to 1 with order 3,
    X (15 - 10 X^H X + 3 (X^H X)^2) / 8. Singular values that are still small stay below 1. It has
    ordinary derivatives. Under ``vmap``, all matrices are processed at once, each on the devices
    that hold it: shard a batch over its first axis.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> u, h = jaxmg.linalg.polar(jnp.array([[0.0, -2.0], [3.0, 0.0]]))
    >>> jnp.round(u, 3).tolist(), jnp.round(h, 3).tolist()
    ([[0.0, -1.0], [1.0, 0.0]], [[3.0, 0.0], [0.0, 2.0]])
    """
    if side not in _SIDES:
        raise ValueError(f"side must be one of {_SIDES}, got {side!r}")
    if method not in _METHODS:
        raise ValueError(f"method must be one of {_METHODS}, got {method!r}")
    if method == "newton_schulz":
        return _by_newton_schulz(a, side, positive_int(steps, "steps") or 5, compute_h, options)
    if steps is not None:
        raise ValueError(
            f'steps={steps!r} is not supported with method="qdwh", which iterates to convergence: '
            "leave it out"
        )
    a = as_matrix(a)
    (m, n), ranks = a.shape, ranks_of(a)
    call = make_call("polar", a, ranks, options)
    order = m if side == "left" else n
    shapes = ((m, n), (order, order)) if compute_h else ((m, n),)
    specs = tuple(result_spec(a, shape, ranks) for shape in shapes)
    placed = placement.place_matrix(ranks, a)
    static = dict(specs=specs, left=side == "left")
    *factors, info = program(placed, call=call, donate=options.donate and m == n, **static)
    factors = [placement.keep_even_sharding(x, a) for x in factors]
    return _results(factors, info, options)


def _results(factors, info, options: Options):
    if options.return_info:
        return *factors, info
    return PolarResult(*factors) if len(factors) == 2 else factors[0]


# --- programs ---------------------------------------------------------------------------------


@programs.program("specs", "left")
def program(a, *, call: Call, specs, left):
    m, n = a.shape
    if a.size == 0:
        return _nothing(a, call, specs, m if left else n)
    a = programs.matrix_on_mesh(a, call.ranks)
    with_h = len(specs) == 2
    if m == n:
        if with_h:
            u, h, info = rules.square_polar(call, left, a)
            factors = u, h
        else:
            u, info = rules.unitary_factor(call, a)
            factors = (u,)
    else:
        # A wide matrix is the adjoint of a tall one, A^H = U H: A = H U^H.
        wide = m < n
        u, h, info = rules.polar(call, a.conj().T if wide else a)
        uh = row_blocks.adjoint(u, max(m, n), call=call)
        if with_h and left != wide:
            h = product(product(u, h, linear_in=1, call=call), uh, linear_in=0, call=call)
        factors = (uh if wide else u, h) if with_h else (uh if wide else u,)
    rows = m, m if left else n
    return *(
        qr_programs.to_matrix(factor, count, call=call, spec=spec)
        for factor, count, spec in zip(factors, rows, specs, strict=False)
    ), info


def _nothing(a, call: Call, specs, order: int):
    def all_ranks(a):
        # The sum of nothing, for JAX drops operands that are not read, and their devices.
        h = jnp.zeros((order, order), a.dtype) + jnp.sum(a)
        return *(a, h)[: len(specs)], jnp.zeros((), np.int32)

    return programs.auto(all_ranks, call.ranks, (*specs, None))(a)


# --- Newton-Schulz iteration --------------------------------------------------------------------

# a, b, c of the fast steps: a steep polynomial near 0 whose iterates stay in [0.7, 1.2].
_FAST = (3.4445, -4.7750, 2.0315)
_FAST_STEPS = 8
_ACCURATE = (15 / 8, -10 / 8, 3 / 8)


def _by_newton_schulz(a, side, steps: int, compute_h: bool, options: Options):
    a = a if isinstance(a, jax.Array) else jnp.asarray(a)
    check_matrix(a)
    if not jnp.issubdtype(a.dtype, jnp.inexact):
        a = a.astype(jnp.result_type(float))
    static = dict(steps=steps, left=side == "left", with_h=bool(compute_h))
    if any(jax.typeof(a).sharding.spec):
        # Explicit axes: JAX would require the sharding of every product. Those of a batch under
        # vmap are no axes of the matrix.
        ranks = ranks_of(a)
        order = a.shape[0] if side == "left" else a.shape[1]
        specs = (result_spec(a, a.shape, ranks), result_spec(a, (order, order), ranks))
        call = Call(ranks, Placement.rows(ranks))
        factors = _on_explicit_axes(a, call=call, specs=specs[: 1 + static["with_h"]], **static)
    else:
        factors = _approximate(a, **static)
    return _results(list(factors), jnp.zeros((), np.int32), options)


@programs.program("steps", "left", "with_h", "specs")
def _on_explicit_axes(a, *, call: Call, specs, **static):
    return programs.auto(lambda a: _approximate(a, **static), call.ranks, specs)(a)


@functools.partial(jax.jit, static_argnames=("steps", "left", "with_h"))
def _approximate(a, *, steps: int, left: bool, with_h: bool):
    u = _orthogonalised(a, steps)
    if not with_h:
        return (u,)
    h = _product(a, u.conj().T) if left else _product(u.conj().T, a)
    return u, (h + h.conj().T) / 2


def _orthogonalised(a, steps: int):
    m, n = a.shape
    x = a.conj().T if m > n else a  # The Gram matrix is the smaller one.
    real = jnp.finfo(x.dtype).dtype
    wide = jnp.promote_types(real, jnp.float32)
    size = jnp.sqrt(jnp.sum(jnp.square(jnp.abs(x).astype(wide))))
    x = x * jnp.where(size > 0, 1 / jnp.where(size > 0, size, 1), 0).astype(real)
    for step in range(steps):
        a1, a3, a5 = _FAST if step < min(steps - 2, _FAST_STEPS) else _ACCURATE
        gram = _product(x, x.conj().T)
        x = a1 * x + _product(a3 * gram + a5 * _product(gram, gram), x)
    return x.conj().T if m > n else x


def _product(a, b):
    # Low precision is for low-precision arrays: GPUs would round float32 operands to TF32.
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
