"""Dense linear algebra on sharded arrays, under the names of ``jax.numpy.linalg``."""

from jaxmg import _potrs, _sharding
from jaxmg._arguments import as_array, check_right_hand_side, check_square, positive_int

__all__ = ["solve"]

_BACKENDS = ("auto", "tiled")
_ASSUMPTIONS = ("gen", "diagonal", "tridiagonal", "banded", "upper triangular",
                "lower triangular", "sym", "her", "pos")  # fmt: skip


def solve(
    a,
    b,
    *,
    assume_a="gen",
    return_info=False,
    tile=None,
    backend="auto",
    donate=False,
    workspace_limit=None,
):
    """Solve ``a @ x = b`` for a matrix that is spread over several devices.

    Parameters
    ----------
    a : (N, N) array
        Hermitian positive definite; float32, float64, complex64 or complex128. Sharded over rows,
        columns or both, replicated, or on one device; mesh and sharding are read off the array.
        Only the upper triangle, the elements ``a[i, j]`` with ``j >= i``, is read.
    b : (N,) or (N, nrhs) array
        Right-hand sides, with the dtype of `a` and any sharding.
    assume_a : str
        What is known about `a`, with SciPy's meaning. Only ``"pos"`` (Hermitian positive
        definite) exists so far.
    return_info : bool
        Append LAPACK's ``info`` to the result.
    tile : int, optional
        Width of the tile columns, a hint; it does not change the result beyond rounding.
    backend : {"auto", "tiled"}
        Which implementation to use; "tiled" is this library's own.
    donate : bool
        Let `a` be overwritten. Outside ``jit``, `a` cannot be used afterwards; inside, donate it at
        the outer ``jit`` instead.
    workspace_limit : int, optional
        Most bytes of workspace per device; by default the planner chooses (see `jaxmg.plan`).

    Returns
    -------
    x : array
        The solution, with the shape and the sharding of `b`. If `a` is not positive definite, or
        holds NaN or infinity where it is read, every element is NaN.
    info : () int32 array
        Only with ``return_info=True``: 0, or the order of the first leading minor that is not
        positive definite (LAPACK's meaning), the same on every device.

    Raises
    ------
    ValueError
        If the shapes do not fit, `tile` or `workspace_limit` is below 1, `backend` or `assume_a`
        is unknown, or `b` lives on several devices other than those of `a`.
    TypeError
        If a dtype is not supported, or those of `a` and `b` differ.
    NotImplementedError
        If `assume_a` is not "pos", or a mesh of CPU devices spans several processes.
    RuntimeError
        If the native library for the devices' platform cannot be loaded.

    Notes
    -----
    Inside ``jit``, the mesh is that of the traced arrays, else the one set by ``jax.set_mesh``,
    else there is one device. On Explicit axes the sharding is part of the type and is kept as
    said. On Auto axes it cannot be seen while tracing: the matrix is then spread over all axes of
    the mesh, and XLA chooses the sharding of x. Inside ``shard_map`` each rank solves its own
    system.

    The factorisation is the right-looking blocked Cholesky algorithm with look-ahead, on tile
    columns dealt to the devices in turn (Choi, Dongarra, Ostrouchov, Petitet, Walker and Whaley,
    "Design and implementation of the ScaLAPACK LU, QR, and Cholesky factorization routines",
    Scientific Programming 5, 1996).

    Examples
    --------
    >>> import jax, jax.numpy as jnp, jaxmg
    >>> from jax.sharding import NamedSharding, PartitionSpec as P
    >>> mesh = jax.make_mesh((len(jax.devices()),), ("x",))
    >>> n = 4 * len(jax.devices())
    >>> a = jax.device_put(4 * jnp.eye(n), NamedSharding(mesh, P("x", None)))
    >>> x = jaxmg.linalg.solve(a, jnp.ones(n), assume_a="pos")
    >>> bool((x == 0.25).all())
    True
    """
    if assume_a not in _ASSUMPTIONS:
        raise ValueError(f"assume_a must be one of {_ASSUMPTIONS}, got {assume_a!r}")
    if assume_a != "pos":
        raise NotImplementedError(
            f"assume_a={assume_a!r} is not implemented; if a is Hermitian positive definite, "
            "pass assume_a='pos'"
        )
    if backend not in _BACKENDS:
        raise ValueError(f"backend must be one of {_BACKENDS}, got {backend!r}")
    a, b = as_array(a, "a"), as_array(b, "b")
    check_square(a)
    check_right_hand_side(a, b)
    tile = positive_int(tile, "tile")
    workspace_limit = positive_int(workspace_limit, "workspace_limit")

    ranks = _sharding.ranks_of(a, b)
    x, info = _potrs.solve(
        a,
        b,
        ranks,
        x_ndim=b.ndim,
        x_spec=_sharding.spec_on(b, ranks.mesh),
        tile=tile,
        workspace_limit=workspace_limit,
        donate=donate,
    )
    x = _sharding.keep_sharding(x, b)
    return (x, info) if return_info else x
