"""Least squares: `lstsq`."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmg._arguments import ArgumentError, as_arrays
from jaxmg._linalg.options import Options, make_call, takes
from jaxmg._linalg.qr import result_spec
from jaxmg._mesh import placement, programs
from jaxmg._mesh.finding import ranks_of
from jaxmg._programs.call import Call
from jaxmg._rules import qr as rules

__all__ = ["LstsqResult", "lstsq"]


class LstsqResult(NamedTuple):
    """The results of ``jnp.linalg.lstsq``, in its order."""

    x: jax.Array
    residuals: jax.Array
    rank: jax.Array
    s: jax.Array


@takes("return_info", "tile", "backend", "workspace_limit")
def lstsq(a, b, rcond=None, *, method="qr", options: Options):
    """Least-squares solution of ``a @ x = b``, of least norm if there are several.

    Parameters
    ----------
    a : (M, N) array
        float32, float64, complex64 or complex128. Sharded over rows, columns or both, replicated,
        or on one device; mesh and sharding are read off the array.
    b : (M,) or (M, nrhs) array
        Right-hand sides, with any sharding. Dtypes are promoted as for `solve`.
    rcond : float, optional
        Not supported with ``method="qr"``, which does not determine the rank.
    method : {"qr"}
        "qr" solves by QR factorisation of `a`, or of its adjoint if M < N. `a` must have full rank.
    {options}

    Returns
    -------
    x : (N,) or (N, nrhs) array
        The solution, with the sharding of `b` where that divides it evenly. Infinite or NaN if a
        diagonal element of R is exactly zero; large if `a` is singular up to rounding.
    residuals : (nrhs,) array
        The squared norm of ``b - a @ x`` of each right-hand side, of length 1 for a vector `b`.
    rank : () integer array
        min(M, N): full rank is assumed.
    s : (0,) array
        Singular values, which QR does not compute: none.
    info : () int32 array
        Only with ``return_info=True``: 0, or the number, from 1, of the first diagonal element of R
        that is exactly zero (LAPACK's ``info`` of gels).

    Raises
    ------
    ValueError
        If the shapes do not match, `method` is unknown, `rcond` is given with ``method="qr"``,
        `tile` or `workspace_limit` is below 1, `backend` is unknown or does not support this call,
        or `a` and `b` are both on several devices but on different ones.
    TypeError
        If a dtype is not supported.
    RuntimeError
        If the native library for the devices' platform, or that of `backend`, cannot be loaded.

    Notes
    -----
    The residual r and x solve the augmented system ``r + a @ x = b``, ``a.conj().T @ r = 0``, by
    the factor (Bjorck, "Solving linear least squares problems by Gram-Schmidt orthogonalization",
    BIT 7, 1967). Derivatives of any order are solutions of it, and reuse the factor. ``vmap`` over
    `b` makes one call with all right-hand sides; over `a`, problems are solved one after another.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> a = jnp.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    >>> x, residuals, rank, s = jaxmg.linalg.lstsq(a, jnp.array([1.0, 3.0, 5.0]), method="qr")
    >>> x.round(5).tolist(), int(rank)
    ([1.0, 2.0], 2)
    """
    if method not in _METHODS:
        raise ValueError(f"method must be one of {tuple(_METHODS)}, got {method!r}")
    a, b = checked(a, b)
    results, info = _METHODS[method](a, b, rcond, options)
    return (*results, info) if options.return_info else results


def checked(a, b):
    """Return a and b as arrays of one dtype, with as many rows."""
    a, b = as_arrays(("a", a), ("b", b))
    if a.ndim != 2:
        raise ArgumentError(f"a must be a 2D array, got shape {a.shape}")
    if b.ndim not in (1, 2):
        raise ArgumentError(f"b must be a 1D or 2D array, got shape {b.shape}")
    if b.shape[0] != a.shape[0]:
        raise ArgumentError(f"a and b must have as many rows; got shapes {a.shape} and {b.shape}")
    return a, b


def _by_qr(a, b, rcond, options: Options):
    """Return (the results, info), for a matrix of full rank."""
    if rcond is not None:
        raise ValueError(
            f'rcond={rcond!r} is not supported with method="qr", which assumes full rank'
        )
    ranks, count = ranks_of(a, b), math.prod(b.shape[1:])
    call = make_call("gels", a, ranks, options, count=count, rows=a.shape[0])
    return solved_by_qr(a, b, call)


def solved_by_qr(a, b, call: Call):
    """Return (the results of `lstsq`, info) for checked arrays."""
    m, n = a.shape
    spec = result_spec(b, (n, *b.shape[1:]), call.ranks)
    placed = placement.place_matrix(call.ranks, a)
    right = placement.place_beside(call.ranks, placed, b)
    x, residuals, info = _least_squares(placed, right, call=call, spec=spec)
    x = placement.keep_even_sharding(x, b)
    rank = jnp.asarray(min(m, n), jax.dtypes.canonicalize_dtype(np.int64))
    return LstsqResult(x, residuals, rank, jnp.zeros(0, residuals.dtype)), info


_METHODS = {"qr": _by_qr}


# --- programs ---------------------------------------------------------------------------------


@programs.program("spec")
def _least_squares(a, b, *, call: Call, spec):
    (m, n), right = a.shape, b.shape[1:]
    a, b = programs.matrix_on_mesh(a, call.ranks), programs.on_mesh(b, call.ranks)
    if a.size == 0 or b.size == 0:
        return _nothing(a, b, call, spec)

    def zeros(rows):
        return programs.auto(lambda b: jnp.zeros((rows, *right), b.dtype), call.ranks, None)(b)

    if m >= n:
        r, x, info = rules.augmented(call, a, b, zeros(n), adjoint=False)
    else:
        x, _, info = rules.augmented(call, a, zeros(n), b, adjoint=True)
        r = zeros(m)
    residuals = programs.auto(_squares, call.ranks, None)(r)
    return programs.auto(lambda x: x, call.ranks, spec)(x), residuals, info


def _squares(r):
    r = r if r.ndim == 2 else r[:, None]
    return jnp.sum(r.real**2 + r.imag**2 if jnp.iscomplexobj(r) else r**2, axis=0)


def _nothing(a, b, call: Call, spec):
    """Return the results for an empty matrix, or without right-hand sides."""
    shape = (a.shape[1], *b.shape[1:])

    def all_ranks(a, b):
        # Sums of nothing, for JAX drops operands that are not read, and their devices.
        nothing = jnp.sum(a[:0]) + jnp.sum(b[:0])
        return jnp.zeros(shape, b.dtype) + nothing, _squares(b), jnp.zeros((), np.int32)

    return programs.auto(all_ranks, call.ranks, (spec, None, None))(a, b)
