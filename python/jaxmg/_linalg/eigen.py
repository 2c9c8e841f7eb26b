"""Eigenvalues, eigenvectors and functions of Hermitian matrices."""

import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmg._arguments import ArgumentError, as_arrays, check_square, positive_int, real_scalar
from jaxmg._linalg.factors import CholeskyFactor
from jaxmg._linalg.options import Options, make_call, prepared, takes, to_matrix
from jaxmg._mesh import placement, programs
from jaxmg._mesh.finding import ranks_of_blocks
from jaxmg._mesh.ranks import column_spec
from jaxmg._mesh.tracing import is_traced
from jaxmg._programs import row_blocks
from jaxmg._programs.call import Call
from jaxmg._programs.dealt import Dealt
from jaxmg._programs.eigen import LOWER, UPPER, Part, between, values_between, with_info_of_b
from jaxmg._rules import eigen as rules
from jaxmg._rules import spectral

__all__ = ["EighResult", "eigh", "eigvalsh", "pinvh", "sqrtm_h"]

# JAX's rows of A are columns of conj(A). The native code reads the lower triangle of conj(A), that
# is, the upper triangle of A. Reading the lower triangle of A costs a distributed transpose.
_TRIANGLES = {None: UPPER, "L": LOWER, "U": UPPER}


class EighResult(NamedTuple):
    """Eigenvalues and eigenvectors, with the field names of ``jnp.linalg.eigh``."""

    eigenvalues: jax.Array
    eigenvectors: jax.Array


@takes("return_info", "tile", "backend", "donate", "workspace_limit")
def eigh(
    a, b=None, *, UPLO=None, subset_by_index=None, subset_by_value=None, size=None, options: Options
):
    """Eigenvalues and eigenvectors of a Hermitian matrix, ``a @ v = w * v`` or ``w * (b @ v)``.

    Parameters
    ----------
    a : (N, N) array
        Hermitian; float32, float64, complex64 or complex128. Sharded over rows, columns or both,
        replicated, or on one device; mesh and sharding are read off the array.
    b : (N, N) array or CholeskyFactor, optional
        Hermitian positive definite matrix of the generalised problem, with any sharding, or its
        factor from `cho_factor`, for several problems with the same `b`; the identity by default.
        Dtypes are promoted as for `solve`.
    UPLO : {"L", "U", None}
        The triangle of `a`, and of a matrix `b`, that is read: "U" (and None) for the elements
        ``[i, j]`` with ``j >= i``, "L" for the elements with ``j <= i``, which costs a distributed
        transpose. Imaginary parts on the diagonal are ignored. (By default, ``jnp.linalg.eigh``
        averages both triangles, ``symmetrize_input``; for a Hermitian matrix the result is the
        same.)
    subset_by_index : (int, int), optional
        Indices of the first and the last eigenvalue to return, in ascending order and from 0. Only
        their eigenvectors are computed, which saves time.
    subset_by_value : (float, float), optional
        Half-open interval (low, high] of the eigenvalues to return. The bounds may be infinite or
        traced, and are converted to the dtype of the eigenvalues. The result then includes `count`.
    size : int, optional
        With `subset_by_value`, the number of eigenvalues and eigenvectors in the result, since
        shapes must be static; N by default. At most `size` eigenvectors are computed, and only
        eigenvectors in the interval.
    {options}

    Returns
    -------
    eigenvalues : (k,) array
        Real, ascending, replicated. k is N, or the size of the subset.
    eigenvectors : (N, k) array
        One in each column, ``V.conj().T @ V = I`` (``V.conj().T @ b @ V = I`` with `b`). Sharded
        over columns, ``P(None, axis)``, if they divide evenly among the devices: each device holds
        whole eigenvectors.
    count : () int32 array
        Only with `subset_by_value`: the number of eigenvalues in the interval. Beyond `count`, the
        eigenvalues in the result are NaN and the eigenvectors 0. If `count` exceeds `size`, the
        smallest eigenvalues in the interval are returned.
    info : () int32 array
        Only with ``return_info=True``: 0 on success. Otherwise all results are NaN (and `count` 0):
        -4 if `a` holds NaN or infinity where it is read, N + i if the leading minor of order i of
        `b` is not positive definite, above 0 if an iteration did not converge.

    Without `count` and `info`, the result is an `EighResult`; otherwise a tuple.

    Raises
    ------
    ValueError
        If a shape, an option, or the subset is invalid, `backend` does not support this call, or
        `a` and `b` are both on several devices but on different ones.
    TypeError
        If a dtype is not supported, such as half precision, or a bound is not a real number.
    RuntimeError
        If the native library for the devices' platform, or that of `backend`, cannot be loaded.

    Notes
    -----
    Unless `tile` is given, problems too small to distribute are solved on one device, and ``vmap``
    over such matrices divides them among the devices. Larger ones are decomposed one after another,
    each on all devices. The mesh inside ``jit`` is found as for `solve`.

    Derivatives of any order agree with ``jnp.linalg.eigh``: `a` and `b` are assumed Hermitian,
    cotangents are Hermitian, and only the Hermitian part of a tangent is used. Derivatives of
    eigenvectors are infinite (or NaN) where eigenvalues are equal. Derivatives of a subset of
    eigenvectors require all eigenvectors, which are then computed.

    The matrix is reduced to a band by blocked Householder reflections, and the band to tridiagonal
    form by bulge chasing (Bischof, Lang and Sun, "A framework for symmetric band reduction", ACM
    Trans. Math. Softw. 26, 2000). The tridiagonal matrix is decomposed by divide and conquer (Gu
    and Eisenstat, "A divide-and-conquer algorithm for the symmetric tridiagonal eigenproblem", SIAM
    J. Matrix Anal. Appl. 16, 1995). With `b` = L L^H, these steps are applied to L^-1 a L^-H.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> a = jnp.diag(jnp.array([3.0, 1.0, 2.0]))
    >>> w, v = jaxmg.linalg.eigh(a)
    >>> jnp.round(w, 3).tolist()
    [1.0, 2.0, 3.0]
    >>> w, v = jaxmg.linalg.eigh(a, subset_by_index=(1, 2))
    >>> jnp.round(w, 3).tolist(), v.shape
    ([2.0, 3.0], (3, 2))
    >>> overlap = jaxmg.linalg.cho_factor(jnp.diag(jnp.array([1.0, 2.0, 4.0])))
    >>> jnp.round(jaxmg.linalg.eigh(a, overlap).eigenvalues, 3).tolist()
    [0.5, 0.5, 3.0]
    """
    matrices, uplo, call = _prepared(a, b, UPLO, options)
    part, bounds, size = _subset(matrices[0], subset_by_index, subset_by_value, size)
    static = dict(call=call, uplo=uplo, donate=options.donate)
    static["spec"] = column_spec(size, call.ranks)
    if bounds is None:
        *result, aside = _eigh(*matrices, part=part, **static)
    else:
        bounds = _placed_bounds(bounds, matrices[0], call)
        *result, aside = _eigh_between(matrices[0], bounds, *matrices[1:], size=size, **static)
    result = (*result, aside.info) if options.return_info else result
    return tuple(result) if len(result) > 2 else EighResult(*result)


@takes("return_info", "tile", "backend", "donate", "workspace_limit")
def eigvalsh(
    a, b=None, *, UPLO=None, subset_by_index=None, subset_by_value=None, size=None, options: Options
):
    """Eigenvalues of a Hermitian matrix, without eigenvectors.

    Parameters
    ----------
    a, b, UPLO, subset_by_index, subset_by_value, size
        As for `eigh`.
    {options}

    Returns
    -------
    w : (k,) array
        As the eigenvalues of `eigh`. All eigenvalues are computed, whatever the subset.
    count : () int32 array
        Only with `subset_by_value`; see `eigh`.
    info : () int32 array
        Only with ``return_info=True``; see `eigh`.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As `eigh` does.

    Notes
    -----
    No eigenvectors are computed, except by a derivative, which requires the eigenvectors of the
    returned eigenvalues (with `subset_by_value`, all of them). Derivatives are finite where
    eigenvalues are equal.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> a = jnp.diag(jnp.array([3.0, 1.0, 2.0]))
    >>> jnp.round(jaxmg.linalg.eigvalsh(a), 3).tolist()
    [1.0, 2.0, 3.0]
    >>> w, count = jaxmg.linalg.eigvalsh(a, subset_by_value=(1.5, 4.0))
    >>> jnp.round(w, 3).tolist(), int(count)
    ([2.0, 3.0, nan], 2)
    """
    matrices, uplo, call = _prepared(a, b, UPLO, options)
    part, bounds, size = _subset(matrices[0], subset_by_index, subset_by_value, size)
    static = dict(call=call, uplo=uplo, donate=options.donate)
    if bounds is None:
        *result, aside = _eigvals(*matrices, part=part, **static)
    else:
        bounds = _placed_bounds(bounds, matrices[0], call)
        *result, aside = _eigvals_between(matrices[0], bounds, *matrices[1:], size=size, **static)
    result = (*result, aside.info) if options.return_info else result
    return tuple(result) if len(result) > 1 else result[0]


@takes("return_info", "tile", "backend", "donate", "workspace_limit")
def pinvh(a, *, rtol=None, UPLO=None, options: Options):
    """Moore-Penrose pseudo-inverse of a Hermitian matrix, from its eigenvectors.

    Parameters
    ----------
    a : (N, N) array
        As for `eigh`.
    rtol : real scalar, optional
        Eigenvalues whose modulus is at most `rtol` times the largest modulus count as 0; N eps by
        default, as in SciPy. Its dtype does not affect the dtype of the result.
    UPLO
        As for `eigh`.
    {options}

    Returns
    -------
    x : (N, N) array
        With the sharding of `a`. All NaN if `a` holds NaN or infinity where it is read.
    info : () int32 array
        Only with ``return_info=True``; see `eigh`.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As `eigh` does.

    Notes
    -----
    Derivatives of any order are taken among matrices of the same rank, and are finite where
    eigenvalues are equal. Each costs products of N x N matrices, in which each device broadcasts
    its block of rows.

    For other functions of a matrix, such as a smooth pseudo-inverse, use `eigh`:
    ``(v * f(w)) @ v.conj().T``.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> jnp.round(jaxmg.linalg.pinvh(jnp.diag(jnp.array([4.0, 0.0]))), 3).tolist()
    [[0.25, 0.0], [0.0, 0.0]]
    """
    scalars = () if rtol is None else (("rtol", rtol),)
    return to_matrix("syevd", _pinvh, a, options, *scalars, uplo=_triangle(UPLO))


@takes("return_info", "tile", "backend", "donate", "workspace_limit")
def sqrtm_h(a, *, UPLO=None, options: Options):
    """Principal square root of a Hermitian positive semidefinite matrix, from its eigenvectors.

    Parameters
    ----------
    a : (N, N) array
        As for `eigh`.
    UPLO
        As for `eigh`.
    {options}

    Returns
    -------
    x : (N, N) array
        Hermitian positive semidefinite, ``x @ x = a``, with the sharding of `a`. All NaN if an
        eigenvalue is negative beyond rounding (N eps times the largest modulus), or `a` holds NaN
        or infinity where it is read.
    info : () int32 array
        Only with ``return_info=True``; see `eigh`. A negative eigenvalue does not set it.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As `eigh` does.

    Notes
    -----
    Derivatives of any order solve ``x @ dx + dx @ x = da``, and are finite where eigenvalues are
    equal. Where `a` is singular, they are taken among matrices of the same rank.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> jnp.round(jaxmg.linalg.sqrtm_h(jnp.diag(jnp.array([4.0, 9.0]))), 3).tolist()
    [[2.0, 0.0], [0.0, 3.0]]
    """
    return to_matrix("syevd", _sqrtm, a, options, uplo=_triangle(UPLO))


# --- programs ---------------------------------------------------------------------------------


@programs.program("uplo", "part", "spec")
def _eigh(a, *b, call: Call, uplo, part, spec):
    w, v, aside = rules.eigh(call, uplo, part, True, _on_mesh(a, *b, call=call))
    v = row_blocks.columns_to_matrix(v, part.count, call=call, spec=spec)
    return w, v, _with_info_of_factor(aside, *b)


@programs.program("uplo", "size", "spec")
def _eigh_between(a, bounds, *b, call: Call, uplo, size, spec):
    matrices, bounds = _on_mesh(a, *b, call=call), _stacked(bounds, a)
    w, v, count, aside = rules.eigh_between(call, uplo, size, matrices, bounds)
    beyond = jnp.where(aside.info == 0, 0.0, jnp.nan)
    v = row_blocks.columns_to_matrix(v, size, call=call, spec=spec, beyond=beyond)
    return w, v, count, _with_info_of_factor(aside, *b)


@programs.program("uplo", "part")
def _eigvals(a, *b, call: Call, uplo, part):
    w, aside = rules.eigvals(call, uplo, part, _on_mesh(a, *b, call=call))
    return w, _with_info_of_factor(aside, *b)


@programs.program("uplo", "size")
def _eigvals_between(a, bounds, *b, call: Call, uplo, size):
    matrices, everything = _on_mesh(a, *b, call=call), Part(0, a.shape[1])
    w, aside = rules.eigvals(call, uplo, everything, matrices)
    first, count = between(w, _stacked(bounds, a))
    return values_between(w, first, count, size), count, _with_info_of_factor(aside, *b)


@programs.program("uplo", "spec")
def _pinvh(a, *rtol, call: Call, uplo, spec):
    real = np.finfo(a.dtype)
    rtol = jnp.asarray(*rtol or (a.shape[1] * float(real.eps),), real.dtype)
    a = programs.matrix_on_mesh(a, call.ranks)
    m = rules.hermitian(call, uplo, a)
    w, z, aside = spectral.decomposition(call, uplo, a)
    x = spectral.pseudo_inverse(call, rtol, m, w, z)
    return row_blocks.to_matrix(x, call=call, spec=spec), aside.info


@programs.program("uplo", "spec")
def _sqrtm(a, *, call: Call, uplo, spec):
    a = programs.matrix_on_mesh(a, call.ranks)
    m = rules.hermitian(call, uplo, a)
    w, z, aside = spectral.decomposition(call, uplo, a)
    x = spectral.square_root(call, m, w, z)
    return row_blocks.to_matrix(x, call=call, spec=spec), aside.info


def _stacked(bounds, a):
    """Return two bounds as an array of the real dtype that corresponds to A."""
    return jnp.stack([bound.astype(np.finfo(a.dtype).dtype) for bound in bounds])


def _on_mesh(a, *b, call: Call):
    """Return (A,), (A, B) or (A, factor of B) for the rules; a factor comes with its info."""
    if len(b) == 2:
        return programs.matrix_on_mesh(a, call.ranks), b[0]
    return tuple(programs.matrix_on_mesh(matrix, call.ranks) for matrix in (a, *b))


def _with_info_of_factor(aside, *b):
    return with_info_of_b(aside, b[1]) if len(b) == 2 else aside


# --- arguments --------------------------------------------------------------------------------


def _prepared(a, b, UPLO, options: Options):
    """Return the checked and placed operands, the triangle, and the call parameters."""
    uplo = _triangle(UPLO)
    if b is None:
        a, call = prepared("syevd", a, options)
        return placement.place_matrices(call.ranks, a=a), uplo, call
    if isinstance(b, CholeskyFactor):
        operands, call = _prepared_with_factor(a, b, options)
        return operands, uplo, call
    a, b = as_arrays(("a", a), ("b", b))
    a, call = prepared("syevd", a, options, b)
    if b.shape != a.shape:
        raise ArgumentError(f"b must have the shape {a.shape} of a, got {b.shape}")
    return placement.place_matrices(call.ranks, a=a, b=b), uplo, call


def _prepared_with_factor(a, b: CholeskyFactor, options: Options):
    """Return (A, contents of the factor of B, its info) on the factor's ranks, and the call."""
    a, data = as_arrays(("a", a), ("b.data", b.data))
    check_square(a)
    if b.shape != a.shape:
        raise ArgumentError(f"b must be a factor of the shape {a.shape} of a, got {b.shape}")
    ranks = ranks_of_blocks(data, b.axes, b.ranks, a)
    call = make_call("syevd", a, ranks, options)
    data, a = placement.place_matrices(ranks, b=data, a=a)
    return (a, Dealt(data, b.tile), placement.place_scalar(b.info, ranks, data)), call


def _triangle(UPLO) -> int:
    if UPLO not in _TRIANGLES:
        raise ValueError(f"UPLO must be one of {tuple(_TRIANGLES)}, got {UPLO!r}")
    return _TRIANGLES[UPLO]


def _placed_bounds(bounds, a, call: Call):
    return tuple(placement.place_scalar(bound, call.ranks, a) for bound in bounds)


def _subset(a, by_index, by_value, size):
    """Return the part to compute, or the bounds of an interval, and the size of the result."""
    n = a.shape[1]
    if by_index is not None and by_value is not None:
        raise ValueError(
            "subset_by_index and subset_by_value must not both be given; pass one of them"
        )
    if by_value is not None:
        low, high = (
            real_scalar(bound, "a bound of subset_by_value", a.dtype) for bound in by_value
        )
        if not is_traced(low, high) and not np.less(*jax.device_get((low, high))):
            raise ValueError(f"subset_by_value must be (low, high) with low < high, got {by_value}")
        size = n if size is None else positive_int(size, "size")
        return None, (low, high), size
    if size is not None:
        raise ValueError(
            f"size is only used with subset_by_value; got size={size!r} without it: leave it out, "
            "or pass subset_by_index"
        )
    if by_index is None:
        return Part(0, n), None, n
    first, last = map(operator.index, by_index)
    if not 0 <= first <= last < n:
        raise ValueError(
            f"subset_by_index must be (first, last) with 0 <= first <= last < {n}, got {by_index}"
        )
    return Part(first, last - first + 1), None, last - first + 1
