"""`gesvd` and `polar` of JAXMg 1.4."""

from jaxmg._arguments import as_matrix, positive_int
from jaxmg._linalg import polar as linalg_polar
from jaxmg._linalg import svd as linalg_svd
from jaxmg._linalg.options import Options, make_call, takes
from jaxmg._linalg.qr import result_spec
from jaxmg._mesh import placement
from jaxmg.compat.arguments import Specs, named_ranks, status_of

__all__ = ["gesvd", "polar"]


@takes("backend")
def gesvd(
    a,
    T_A=None,
    mesh=None,
    matrix_specs=None,
    *,
    in_specs=None,
    compute_u=True,
    compute_vh=True,
    full_matrices=False,
    return_status=False,
    pad=True,
    donate=True,
    options: Options,
):
    """Singular value decomposition ``a = (u * s) @ vh``.

    Parameters
    ----------
    a : (M, N) array
        float32, float64, complex64 or complex128. It is moved to the sharding `matrix_specs`.
    T_A, mesh, matrix_specs, in_specs, pad, donate
        As for `jaxmg.lu_solve`.
    compute_u, compute_vh : bool
        Return the left or the right singular vectors. Time is saved only without both.
    full_matrices : bool
        As for `jaxmg.linalg.svd`.
    return_status : bool
        Also return the status.
    {options}

    Returns
    -------
    u : (M, K) array
        Only with `compute_u`.
    s : (K,) array
        Singular values in descending order, K = min(M, N); replicated.
    vh : (K, N) array
        Only with `compute_vh`.
    status : () int32 array
        Only with ``return_status=True``: 0, or 7 if `a` holds NaN or infinity, or an iteration did
        not converge; all results are then NaN. A single result
        is returned as an array, not as a tuple.

    Raises
    ------
    ValueError
        If a shape, `T_A`, `mesh` or a spec is invalid.
    TypeError
        If a dtype or the type of a spec or `mesh` is not supported.

    See Also
    --------
    jaxmg.linalg.svd : the same algorithm; its docstring names the source.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> s = jaxmg.gesvd(jnp.array([[0.0, 2.0], [3.0, 0.0]]), compute_u=False, compute_vh=False)
    >>> jnp.round(s, 3).tolist()
    [3.0, 2.0]
    """
    del pad
    placed, call, a = _placed("gesvd", a, T_A, mesh, in_specs, matrix_specs, options)
    (m, n), k = a.shape, min(a.shape)
    donate = donate and m == n
    if not (compute_u or compute_vh):
        s, aside = linalg_svd.values_program(placed, call=call, donate=donate, hermitian=False)
        return (s, status_of(aside.info)) if return_status else s
    shapes = (m, m if full_matrices else k), (n if full_matrices else k, n)
    specs = tuple(result_spec(a, shape, call.ranks) for shape in shapes)
    static = dict(specs=specs, full=bool(full_matrices), hermitian=False)
    u, s, vh, aside = linalg_svd.vectors_program(placed, call=call, donate=donate, **static)
    result = ((u,) if compute_u else ()) + (s,) + ((vh,) if compute_vh else ())
    result += (status_of(aside.info),) if return_status else ()
    return result


@takes("backend")
def polar(
    a,
    T_A=None,
    mesh=None,
    matrix_specs=None,
    *,
    in_specs=None,
    compute_h=True,
    return_status=False,
    pad=True,
    donate=True,
    options: Options,
):
    """Polar decomposition ``a = u @ h``, h Hermitian and positive semidefinite.

    Parameters
    ----------
    a : (M, N) array
        float32, float64, complex64 or complex128. It is moved to the sharding `matrix_specs`.
    T_A, mesh, matrix_specs, in_specs, pad, donate
        As for `jaxmg.lu_solve`.
    compute_h : bool
        Return the Hermitian factor.
    return_status : bool
        Also return the status.
    {options}

    Returns
    -------
    u : (M, N) array
        Orthonormal columns (rows if M < N).
    h : (N, N) array
        Only with `compute_h`.
    status : () int32 array
        Only with ``return_status=True``; as for `gesvd`. A single result
        is returned as an array, not as a tuple.

    Raises
    ------
    ValueError, TypeError
        As `gesvd` does.

    See Also
    --------
    jaxmg.linalg.polar : the same algorithm; its docstring names the source.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> u, h = jaxmg.polar(jnp.array([[0.0, -2.0], [3.0, 0.0]]))
    >>> jnp.round(h, 3).tolist()
    [[3.0, 0.0], [0.0, 2.0]]
    """
    del pad
    placed, call, a = _placed("polar", a, T_A, mesh, in_specs, matrix_specs, options)
    m, n = a.shape
    shapes = ((m, n), (n, n)) if compute_h else ((m, n),)
    specs = tuple(result_spec(a, shape, call.ranks) for shape in shapes)
    static = dict(specs=specs, left=False)
    *result, info = linalg_polar.program(placed, call=call, donate=donate and m == n, **static)
    result += [status_of(info)] if return_status else []
    return tuple(result) if len(result) > 1 else result[0]


def _placed(routine: str, a, T_A, mesh, in_specs, matrix_specs, options: Options):
    """Return the matrix on its ranks, the parameters of the call, and the checked matrix."""
    a = as_matrix(a)
    options = options.with_tile(positive_int(T_A, "T_A"))
    ranks = named_ranks(mesh, Specs.given(in_specs, matrix_specs), (a,))
    call = make_call(routine, a, ranks, options, count=min(a.shape)).in_rows()
    return placement.place_matrix(ranks, a), call, a
