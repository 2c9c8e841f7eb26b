"""Least squares: `lstsq`."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmg._arguments import ArgumentError, as_arrays, check_matrix, real_scalar
from jaxmg._linalg.options import Options, make_call, takes
from jaxmg._linalg.qr import result_spec
from jaxmg._mesh import placement, programs
from jaxmg._mesh.finding import ranks_of
from jaxmg._programs.call import Call
from jaxmg._rules import qr as rules
from jaxmg._rules import svd as svd_rules

__all__ = ["LstsqResult", "lstsq"]


class LstsqResult(NamedTuple):
    """The results of ``jnp.linalg.lstsq``, in its order."""

    x: jax.Array
    residuals: jax.Array
    rank: jax.Array
    s: jax.Array


@takes("return_info", "tile", "backend", "workspace_limit")
def lstsq(a, b, rcond=None, *, method="svd", options: Options):
    """Least-squares solution of ``a @ x = b``, of least norm if there are several.

    Parameters
    ----------
    a : (M, N) array
        float32, float64, complex64 or complex128. Sharded over rows, columns or both, replicated,
        or on one device; mesh and sharding are read off the array.
    b : (M,) or (M, nrhs) array
        Right-hand sides, with any sharding. Dtypes are promoted as for `solve`.
    rcond : real scalar, optional
        Singular values up to `rcond` times the largest one count as 0; max(M, N) eps by default,
        and eps for a negative number. Not supported with ``method="qr"``.
    method : {"svd", "qr"}
        "svd" solves by the singular value decomposition of `a`, for any rank. "qr" solves by QR
        factorisation of `a`, or of its adjoint if M < N: much faster, but `a` must have full rank.
    {options}

    Returns
    -------
    x : (N,) or (N, nrhs) array
        The solution, with the sharding of `b` where that divides it evenly. With "qr", infinite or
        NaN if a diagonal element of R is exactly zero; large if `a` is singular up to rounding.
    residuals : (nrhs,) array
        The squared norm of ``b - a @ x`` of each right-hand side, of length 1 for a vector `b`.
    rank : () integer array
        The number of singular values above the threshold. With "qr", min(M, N): full rank is
        assumed.
    s : (min(M, N),) array
        Singular values, in descending order. QR does not compute them: with "qr", none.
    info : () int32 array
        Only with ``return_info=True``: as for `svd`. With "qr", 0, or the number, from 1, of the
        first diagonal element of R that is exactly zero (LAPACK's ``info`` of gels).

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
    With "svd", x is V S^+ U^H b. Derivatives of any order are taken among matrices of the same
    rank, and are finite where singular values are equal.

    With "qr", the residual r and x solve the augmented system ``r + a @ x = b``,
    ``a.conj().T @ r = 0``, by the factor (Bjorck, "Solving linear least squares problems by
    Gram-Schmidt orthogonalization", BIT 7, 1967). For tall and well-conditioned matrices with few
    right-hand sides, Q is replaced by A itself in corrected seminormal equations (Bjorck, Linear
    Algebra Appl. 88/89, 1987), with the same accuracy in a fraction of the time: on GPUs, their R
    may be of lower precision. Derivatives of any order are solutions of it, and reuse the factor.

    ``vmap`` over `b` makes one call with all right-hand sides; over `a`, problems are solved one
    after another.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> a = jnp.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    >>> x, residuals, rank, s = jaxmg.linalg.lstsq(a, jnp.array([1.0, 3.0, 5.0]))
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
    check_matrix(a)
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
    call = make_call("gels", a, ranks, options, count=count)
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


def _by_svd(a, b, rcond, options: Options):
    """Return (the results, info), for a matrix of any rank."""
    m, n = a.shape
    call = make_call("gesvd", a, ranks_of(a, b), options).in_rows()
    spec = result_spec(b, (n, *b.shape[1:]), call.ranks)
    placed = placement.place_matrix(call.ranks, a)
    right = placement.place_beside(call.ranks, placed, b)
    rcond = svd_rules.default_rtol((m, n), a.dtype) if rcond is None else rcond
    rcond = placement.place_scalar(real_scalar(rcond, "rcond", a.dtype), call.ranks, placed)
    x, *others, info = _of_any_rank(placed, right, rcond, call=call, spec=spec)
    return LstsqResult(placement.keep_even_sharding(x, b), *others), info


_METHODS = {"svd": _by_svd, "qr": _by_qr}


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
        x, residuals, info = rules.least_squares(call, a, b)
    else:
        x, _, info = rules.augmented(call, a, zeros(n), b, adjoint=True)
        residuals = programs.auto(rules.squared_norms, call.ranks, None)(zeros(m))
    return programs.auto(lambda x: x, call.ranks, spec)(x), residuals, info


@programs.program("spec")
def _of_any_rank(a, b, rcond, *, call: Call, spec):
    m, n = a.shape
    a, b = programs.matrix_on_mesh(a, call.ranks), programs.on_mesh(b, call.ranks)
    real = np.finfo(a.dtype)
    if a.size == 0:
        x, residuals, info = _nothing(a, b, call, spec)
        s = residuals[:0]
        return x, residuals, jnp.sum(s > 0), s, info
    rcond = jnp.asarray(rcond, real.dtype)
    rcond = jnp.where(rcond < 0, real.eps, rcond)
    wide = m < n
    of = a.conj().T if wide else a
    u, s, vh, aside = svd_rules.decomposition(call, of)
    _, rank = svd_rules.inverse_values(rcond, s)
    columns = b if b.ndim == 2 else b[:, None]
    x = svd_rules.apply_pseudo_inverse(call, wide, rcond, of, u, s, vh, columns)

    def residuals(a, x, b):
        return rules.squared_norms(b - jnp.matmul(a, x, precision=lax.Precision.HIGHEST))

    def shaped(x, info):
        return jnp.where(info == 0, x if b.ndim == 2 else x[:, 0], jnp.nan)

    of_b = programs.auto(residuals, call.ranks, None)(a, x, columns)
    x = programs.auto(shaped, call.ranks, spec)(x, aside.info)
    return x, of_b, rank, s, aside.info


def _nothing(a, b, call: Call, spec):
    """Return the results for an empty matrix, or without right-hand sides."""
    shape = (a.shape[1], *b.shape[1:])

    def all_ranks(a, b):
        # Sums of nothing, for JAX drops operands that are not read, and their devices.
        nothing = jnp.sum(a[:0]) + jnp.sum(b[:0])
        return jnp.zeros(shape, b.dtype) + nothing, rules.squared_norms(b), jnp.zeros((), np.int32)

    return programs.auto(all_ranks, call.ranks, (spec, None, None))(a, b)
