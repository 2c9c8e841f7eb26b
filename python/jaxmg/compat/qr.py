"""`qr` and `least_squares` of JAXMg 1.4."""

import math

import jax.numpy as jnp
import numpy as np

from jaxmg._arguments import as_matrix, positive_int
from jaxmg._linalg.least_squares import checked, solved_by_qr
from jaxmg._linalg.options import Options, make_call, takes
from jaxmg._linalg.qr import factored
from jaxmg.compat.arguments import Specs, named_ranks, status_of


@takes("backend")
def qr(
    a,
    T_A=None,
    mesh=None,
    matrix_specs=None,
    *,
    in_specs=None,
    return_status=False,
    pad=True,
    donate=True,
    options: Options,
):
    """QR factorisation ``a = q @ r``, in reduced form.

    Parameters
    ----------
    a : (M, N) array
        float32, float64, complex64 or complex128.
    T_A, mesh, matrix_specs, in_specs, return_status, pad, donate
        As for `jaxmg.lu_solve`, with a single spec.
    {options}

    Returns
    -------
    q : (M, K) array
        Orthonormal columns, K = min(M, N).
    r : (K, N) array
        Upper triangular.
    status : () int32 array
        Only with ``return_status=True``: 0. The factorisation succeeds for every matrix.

    Raises
    ------
    ValueError
        If a shape, `T_A`, `mesh` or a spec is invalid. Errors about shapes are also
        AssertionErrors.
    TypeError
        If a dtype or the type of a spec or `mesh` is not supported.

    See Also
    --------
    jaxmg.linalg.qr : the same algorithm; its docstring names the source.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> q, r = jaxmg.qr(jnp.array([[3.0], [4.0]]))
    >>> r.tolist()
    [[-5.0]]
    """
    del pad
    a = as_matrix(a)
    tile = positive_int(T_A, "T_A")
    ranks = named_ranks(mesh, Specs.given(in_specs, matrix_specs), (a,))
    call = make_call("orgqr", a, ranks, options.with_tile(tile))
    q, r = factored(a, call, "reduced", donate)
    return (q, r, jnp.zeros((), np.int32)) if return_status else (q, r)


@takes("backend")
def least_squares(
    a,
    b,
    T_A=None,
    mesh=None,
    matrix_specs=None,
    *,
    in_specs=None,
    return_status=False,
    pad=True,
    donate=True,
    options: Options,
):
    """Least-squares solution of ``a @ x = b`` by QR factorisation, for a matrix of full rank.

    Parameters
    ----------
    a : (M, N) array
        float32, float64, complex64 or complex128. If M < N, x has the least norm.
    b : (M,) or (M, nrhs) array
        Right-hand sides. Dtypes are promoted as by `jaxmg.linalg.solve`.
    T_A, mesh, matrix_specs, in_specs, return_status, pad
        As for `jaxmg.lu_solve`.
    donate : bool
        Accepted and ignored: no result has the shape of `a`, which is not overwritten.
    {options}

    Returns
    -------
    x : (N,) or (N, nrhs) array
        With the sharding of `b` where that divides it evenly; infinite or NaN on failure.
    status : () int32 array
        Only with ``return_status=True``: 0, or 7 if a diagonal element of R is exactly zero.

    Raises
    ------
    ValueError
        If a shape, `T_A`, `mesh` or a spec is invalid. Errors about shapes are also
        AssertionErrors.
    TypeError
        If a dtype or the type of a spec or `mesh` is not supported.

    See Also
    --------
    jaxmg.linalg.lstsq : the same algorithm; its docstring names the source.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> a = jnp.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    >>> jaxmg.least_squares(a, jnp.array([1.0, 3.0, 5.0])).round(5).tolist()
    [1.0, 2.0]
    """
    del pad, donate
    a, b = checked(a, b)
    tile = positive_int(T_A, "T_A")
    ranks = named_ranks(mesh, Specs.given(in_specs, matrix_specs, with_b=True), (a, b))
    count = math.prod(b.shape[1:])
    call = make_call("gels", a, ranks, options.with_tile(tile), count=count)
    results, info = solved_by_qr(a, b, call)
    return (results.x, status_of(info)) if return_status else results.x
