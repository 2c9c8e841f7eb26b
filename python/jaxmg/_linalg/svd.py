"""Singular values and vectors, and functions of them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmg._arguments import ArgumentError, as_array, as_matrix, real_scalar
from jaxmg._linalg.options import Options, make_call, takes
from jaxmg._linalg.qr import result_spec
from jaxmg._linalg.systems import inv
from jaxmg._mesh import placement, programs
from jaxmg._mesh.finding import ranks_of, ranks_on
from jaxmg._programs import qr as qr_programs
from jaxmg._programs import row_blocks
from jaxmg._programs.call import Call, Placement
from jaxmg._rules import svd as rules

__all__ = ["SVDResult", "cond", "matrix_rank", "norm", "pinv", "svd", "svdvals"]


class SVDResult(NamedTuple):
    """Singular vectors and values, with the field names of ``jnp.linalg.svd``."""

    U: jax.Array
    S: jax.Array
    Vh: jax.Array


@takes("return_info", "tile", "backend", "donate", "workspace_limit")
def svd(a, full_matrices=False, compute_uv=True, hermitian=False, *, options: Options):
    """Singular value decomposition ``a = (u * s) @ vh`` of a matrix sharded over several devices.

    Parameters
    ----------
    a : (M, N) array
        float32, float64, complex64 or complex128, of any rank. Sharded over rows, columns or both,
        replicated, or on one device; mesh and sharding are read off the array.
    full_matrices : bool
        Complete U and V to square matrices. They then have no derivative unless M = N. (The default
        of ``jnp.linalg.svd`` is True.)
    compute_uv : bool
        Return singular vectors; otherwise only `s`, as `svdvals` does.
    hermitian : bool
        `a` is Hermitian: decomposed by `eigh`, which reads its upper triangle and is faster.
    {options}

    Returns
    -------
    U : (M, K) array
        Left singular vectors as columns, K = min(M, N); (M, M) with `full_matrices`.
    S : (K,) array
        Singular values, real and in descending order; replicated.
    Vh : (K, N) array
        Adjoints of the right singular vectors as rows; (N, N) with `full_matrices`. U and Vh have
        the sharding of `a` where it divides them evenly, else rows are sharded if they divide
        evenly.
    info : () int32 array
        Only with ``return_info=True``: 0 on success. Otherwise all results are NaN: -4 if `a` holds
        NaN or infinity (or R of a matrix that is not square overflows), above 0 if an iteration did
        not converge.

    Without `info`, the result is an `SVDResult`; with it, a tuple.

    Raises
    ------
    ValueError
        If `a` is not a matrix, or with `hermitian` not square, `tile` or `workspace_limit` is below
        1, or `backend` is unknown or does not support this call.
    TypeError
        If the dtype is not supported.
    RuntimeError
        If the native library for the devices' platform, or that of `backend`, cannot be loaded.

    Notes
    -----
    U and V are orthonormal to rounding errors for every matrix, also if it is singular, and the
    residual is a small multiple of max(M, N) eps times the norm of `a`.

    A matrix that is not square is factored by `qr` first, or its adjoint is. The polar
    decomposition of the square matrix, a = P H, is computed by the QDWH iteration with Cholesky
    factors (Nakatsukasa, Bai and Gygi, "Optimizing Halley's iteration for computing the matrix
    polar decomposition", SIAM J. Matrix Anal. Appl. 31, 2010), with bounded weights instead of
    pivoting. With H = V S V^H by `eigh`, U = P V (Higham and Papadimitriou, "A parallel algorithm
    for computing the polar decomposition", Parallel Computing 20, 1994). In double precision, a
    matrix of condition up to 10 N is decomposed by its Gram matrix and a correction, which is
    checked, in about half the time.

    Derivatives agree with ``jnp.linalg.svd``: they are infinite (or NaN) where singular values are
    equal, and derivatives of U require a full rank if M > N. ``vmap`` decomposes matrices one after
    another, each on all devices.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> u, s, vh = jaxmg.linalg.svd(jnp.array([[0.0, 2.0], [3.0, 0.0]]))
    >>> jnp.round(s, 3).tolist(), jnp.round(jnp.abs(u), 3).tolist()
    ([3.0, 2.0], [[0.0, 1.0], [1.0, 0.0]])
    """
    a, call = _prepared(a, options, hermitian)
    if not compute_uv:
        return _with_info(*_values_of(a, call, options, hermitian), options)
    (m, n), ranks = a.shape, call.ranks
    k = min(m, n)
    shapes = (m, m if full_matrices else k), (n if full_matrices else k, n)
    specs = tuple(result_spec(a, shape, ranks) for shape in shapes)
    donate = options.donate and m == n
    placed = placement.place_matrix(ranks, a)
    static = dict(specs=specs, full=bool(full_matrices), hermitian=bool(hermitian))
    u, s, vh, aside = vectors_program(placed, call=call, donate=donate, **static)
    u, vh = (placement.keep_even_sharding(x, a) for x in (u, vh))
    return (u, s, vh, aside.info) if options.return_info else SVDResult(u, s, vh)


@takes("return_info", "tile", "backend", "donate", "workspace_limit")
def svdvals(a, *, options: Options):
    """Singular values of a matrix, without singular vectors.

    Parameters
    ----------
    a : (M, N) array
        As for `svd`.
    {options}

    Returns
    -------
    s : (min(M, N),) array
        As for `svd`.
    info : () int32 array
        Only with ``return_info=True``; see `svd`.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As `svd` does.

    Notes
    -----
    Errors of all singular values are a small multiple of max(M, N) eps times the largest one.
    Derivatives require singular vectors, and are finite where singular values are equal.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> jnp.round(jaxmg.linalg.svdvals(jnp.array([[0.0, 2.0], [3.0, 0.0]])), 3).tolist()
    [3.0, 2.0]
    """
    a, call = _prepared(a, options)
    return _with_info(*_values_of(a, call, options, False), options)


@takes("return_info", "tile", "backend", "workspace_limit")
def pinv(a, rtol=None, hermitian=False, *, options: Options):
    """Moore-Penrose pseudo-inverse of a matrix, by its singular value decomposition.

    Parameters
    ----------
    a : (M, N) array
        As for `svd`.
    rtol : real scalar, optional
        Singular values up to `rtol` times the largest one count as 0; max(M, N) eps by default. (In
        ``jnp.linalg.pinv``, 10 max(M, N) eps.)
    hermitian : bool
        As for `svd`.
    {options}

    Returns
    -------
    x : (N, M) array
        With the sharding of `a` where it divides x evenly, else rows are sharded if they divide
        evenly. All NaN if `a` holds NaN or infinity.
    info : () int32 array
        Only with ``return_info=True``; see `svd`.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As `svd` does.

    Notes
    -----
    Derivatives of any order are taken among matrices of the same rank, and are finite where
    singular values are equal.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> jnp.round(jaxmg.linalg.pinv(jnp.ones((2, 2))), 3).tolist()
    [[0.25, 0.25], [0.25, 0.25]]
    """
    a, call = _prepared(a, options, hermitian)
    m, n = a.shape
    placed = placement.place_matrix(call.ranks, a)
    rtol = rules.default_rtol((m, n), a.dtype) if rtol is None else rtol
    rtol = placement.place_scalar(real_scalar(rtol, "rtol", a.dtype), call.ranks, placed)
    spec = result_spec(a, (n, m), call.ranks)
    x, info = _pinv(placed, rtol, call=call, spec=spec, hermitian=bool(hermitian))
    return _with_info(placement.keep_even_sharding(x, a), info, options)


@takes("tile", "backend", "workspace_limit")
def matrix_rank(a, rtol=None, *, options: Options) -> jax.Array:
    """Number of singular values above `rtol` times the largest one.

    Parameters
    ----------
    a : (M, N) array
        As for `svd`.
    rtol : real scalar, optional
        max(M, N) eps by default.
    {options}

    Returns
    -------
    rank : () integer array
        0 for a matrix with NaN or infinity.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As `svd` does.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> int(jaxmg.linalg.matrix_rank(jnp.ones((3, 4))))
    1
    """
    a = as_array(a, "a")
    s = svdvals(a, **options.named("tile", "backend", "workspace_limit"))
    rtol = rules.default_rtol(a.shape, a.dtype) if rtol is None else rtol
    rtol = jnp.asarray(real_scalar(rtol, "rtol", a.dtype), s.dtype)
    return jnp.sum(s > rtol * jnp.max(s, initial=0))


@takes("tile", "backend", "workspace_limit")
def cond(a, p=None, *, options: Options) -> jax.Array:
    """Condition number of a matrix.

    Parameters
    ----------
    a : (M, N) array
        As for `svd`; square unless `p` is None, 2 or -2.
    p : {None, 2, -2, "fro", "nuc", 1, -1, inf, -inf}
        The norm. None and 2: the ratio of the largest and the smallest singular value, infinite for
        a matrix that is exactly singular; -2: its reciprocal. Others: the norm of `a` times that of
        its inverse.
    {options}

    Returns
    -------
    () array
        Real.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As `svd` does; ValueError also if `p` is unknown, or `a` is empty.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> round(float(jaxmg.linalg.cond(jnp.diag(jnp.array([4.0, 2.0])))), 3)
    2.0
    """
    a = as_array(a, "a")
    named = options.named("tile", "backend", "workspace_limit")
    if a.size == 0:
        raise ArgumentError(f"a must not be empty, got shape {a.shape}")
    if p in (None, 2, -2):
        s = svdvals(a, **named)
        return s[-1] / s[0] if p == -2 else s[0] / s[-1]
    return norm(a, p, **named) * norm(inv(a, **named), p, **named)


@takes("tile", "backend", "workspace_limit")
def norm(a, ord=None, *, options: Options) -> jax.Array:
    """Norm of a matrix.

    Parameters
    ----------
    a : (M, N) array
        As for `svd`.
    ord : {None, "fro", "nuc", 2, -2, 1, -1, inf, -inf}
        None and "fro": the Frobenius norm. "nuc": the sum of all singular values, 2 and -2 the
        largest and the smallest. 1 and -1: the largest and smallest sum of moduli in a column, inf
        and -inf in a row.
    {options}

    Returns
    -------
    () array
        Real.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As `svd` does; ValueError also if `ord` is unknown.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> a = jnp.diag(jnp.array([3.0, 4.0]))
    >>> [round(float(jaxmg.linalg.norm(a, ord)), 3) for ord in ("fro", "nuc", 2)]
    [5.0, 7.0, 4.0]
    """
    a = as_matrix(a)
    if ord not in _NORMS:
        raise ValueError(f"ord must be one of {_NORMS}, got {ord!r}")
    if ord in ("nuc", 2, -2):
        s = svdvals(a, **options.named("tile", "backend", "workspace_limit"))
        return jnp.sum(s) if ord == "nuc" else s[0] if ord == 2 else s[-1]
    return jnp.linalg.norm(a, ord)


_NORMS = (None, "fro", "nuc", 2, -2, 1, -1, np.inf, -np.inf)


# --- programs ---------------------------------------------------------------------------------


@programs.program("specs", "full", "hermitian")
def vectors_program(a, *, call: Call, specs, full, hermitian):
    (m, n), (u_spec, vh_spec) = a.shape, specs
    if a.size == 0:
        return _nothing(a, call, specs, full)
    a = programs.matrix_on_mesh(a, call.ranks)
    wide = m < n
    rows, columns = max(m, n), min(m, n)
    if hermitian:
        u, s, vh, aside = rules.hermitian(call, a)
    else:
        u, s, vh, aside = rules.decompose(call, a.conj().T if wide else a)
    if full and m != n:
        u = qr_programs.to_matrix(u, rows, call=call)
        u = _completed(call, u, rules.complement(call, u))
    if wide:  # A^H = U S V^H
        rows_of_u = rows if full else columns
        vh, u = row_blocks.adjoint(u, rows, call=call), row_blocks.adjoint(vh, columns, call=call)
        u = qr_programs.to_matrix(u, m, call=call, spec=u_spec)
        return u, s, qr_programs.to_matrix(vh, rows_of_u, call=call, spec=vh_spec), aside
    u = qr_programs.to_matrix(u, m, call=call, spec=u_spec)
    return u, s, qr_programs.to_matrix(vh, n, call=call, spec=vh_spec), aside


@programs.program("hermitian")
def values_program(a, *, call: Call, hermitian):
    if a.size == 0:
        _, s, _, aside = _nothing(a, call, (None, None), False)
        return s, aside
    a = programs.matrix_on_mesh(a, call.ranks)
    if hermitian:
        return rules.hermitian_values(call, a)
    return rules.values(call, a.conj().T if a.shape[0] < a.shape[1] else a)


@programs.program("spec", "hermitian")
def _pinv(a, rtol, *, call: Call, spec, hermitian):
    m, n = a.shape
    if a.size == 0:
        x, _, _, aside = _nothing(a.T, call, (spec, None), False)
        return programs.auto(lambda x: jnp.zeros((n, m), x.dtype) + jnp.sum(x), call.ranks, spec)(
            x
        ), aside.info
    a = programs.matrix_on_mesh(a, call.ranks)
    rtol = jnp.asarray(rtol, np.finfo(a.dtype).dtype)
    wide = m < n
    of = a.conj().T if wide else a
    if hermitian:
        u, s, vh, aside = rules.hermitian(call, jax.lax.stop_gradient(of))
    else:
        u, s, vh, aside = rules.decomposition(call, of)
    x = rules.pseudo_inverse(call, rtol, of, u, s, vh)
    if wide:
        x = row_blocks.adjoint(x, m, call=call)
    x = qr_programs.to_matrix(x, n, call=call, spec=spec)
    nan = programs.auto(lambda x, info: jnp.where(info == 0, x, jnp.nan), call.ranks, spec)
    return nan(x, aside.info), aside.info


def pseudo_solve_on(mesh, inverse, u, vh, b, adjoint: bool):
    """Return P b or P^H b for the pseudo-inverse P of A = U S V^H, computed on `mesh`.

    It has no derivative with respect to A.
    """
    arrays = u, vh, b
    ranks = ranks_of(*arrays) if mesh is None else ranks_on(mesh, tuple(mesh.axis_names), arrays)
    placed = placement.place_beside(ranks, u, b)
    call = Call(ranks, Placement.rows(ranks))
    return _pseudo_solve(inverse, u, vh, placed, call=call, adjoint=adjoint)


@programs.program("adjoint")
def _pseudo_solve(inverse, u, vh, b, *, call: Call, adjoint):
    return rules.by_vectors(call, adjoint, inverse, u, vh, b[:, None])[:, 0]


def _completed(call: Call, u, others):
    """Return the matrix with the columns of both, in row blocks."""
    whole = programs.auto(lambda u, v: jnp.concatenate([u, v], axis=1), call.ranks, None)
    return row_blocks.from_matrix(whole(u, others), call=call)


def _nothing(a, call: Call, specs, full):
    """Return the results for a matrix without elements."""
    (m, n), real = a.shape, np.finfo(a.dtype).dtype

    def all_ranks(a):
        # The sum of nothing, for JAX drops operands that are not read, and their devices.
        zero, k = jnp.sum(a), 0
        u = jnp.eye(m, m if full else k, dtype=a.dtype) + zero
        vh = jnp.eye(n if full else k, n, dtype=a.dtype) + zero
        return u, jnp.zeros(k, real) + zero.real, vh, jnp.zeros((), np.int32)

    vector = jax.sharding.PartitionSpec(None)
    specs = specs[0], vector, specs[1], jax.sharding.PartitionSpec()
    u, s, vh, info = programs.auto(all_ranks, call.ranks, specs)(a)
    return u, s, vh, rules.Aside(info, None)


# --- arguments --------------------------------------------------------------------------------


def _prepared(a, options: Options, hermitian=False):
    a = as_matrix(a)
    if hermitian and a.shape[0] != a.shape[1]:
        raise ArgumentError(f"a must be square with hermitian=True, got shape {a.shape}")
    routine, ranks = "syevd" if hermitian else "gesvd", ranks_of(a)
    return a, make_call(routine, a, ranks, options, count=min(a.shape)).in_rows()


def _values_of(a, call: Call, options: Options, hermitian: bool):
    donate = options.donate and a.shape[0] == a.shape[1]
    placed = placement.place_matrix(call.ranks, a)
    s, aside = values_program(placed, call=call, donate=donate, hermitian=bool(hermitian))
    return s, aside.info


def _with_info(x, info, options: Options):
    return (x, info) if options.return_info else x
