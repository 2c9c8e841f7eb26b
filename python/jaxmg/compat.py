"""The functions of JAXMg 0.0.x, with the arguments, results and errors existing code relies on.

New code should use `jaxmg.linalg`.
"""

import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from jaxmg import (
    _cholesky,
    _derivatives,
    _eigen,
    _eigen_derivatives,
    _ffi,
    _native,
    _row_blocks,
    _sharding,
)
from jaxmg._arguments import (
    ArgumentError,
    as_array,
    check_right_hand_side,
    check_square,
    positive_int,
)
from jaxmg._cholesky import Call
from jaxmg._eigen import UPPER, Part
from jaxmg._options import make_call
from jaxmg._sharding import Ranks
from jaxmg.layout import (
    calculate_padding,
    get_cols_cyclic,
    pad_rows,
    plot_block_to_cyclic,
    unpad_rows,
    verify_cyclic,
)
from jaxmg.utils import JaxMgWarning

__all__ = [
    "calculate_padding",
    "cyclic_1d",
    "get_cols_cyclic",
    "pad_rows",
    "plot_block_to_cyclic",
    "potri",
    "potri_shardmap_ctx",
    "potri_symmetrize",
    "potrs",
    "potrs_shardmap_ctx",
    "syevd",
    "syevd_shardmap_ctx",
    "unpad_rows",
    "verify_cyclic",
]

_FAILED = 7
_LARGEST_TILE_OF_SYEVD = 1024


def potrs(
    a, b, T_A=None, mesh=None, in_specs=None, return_status=False, pad=True, *, backend="auto"
):
    """Solve ``a @ x = b`` for a Hermitian positive definite `a`, by Cholesky factorisation.

    Parameters
    ----------
    a : (N, N) array
        float32, float64, complex64 or complex128. Only the upper triangle, the elements
        ``a[i, j]`` with ``j >= i``, is read. Wherever it lives, it is moved to where `in_specs`
        says.
    b : (N,) or (N, nrhs) array
        Right-hand sides, with the dtype of `a`.
    T_A : int, optional
        Tile size, a hint: any value from 1 up, without effect on the result beyond rounding.
    mesh : Mesh or AbstractMesh, optional
        The devices; by default those of the arrays.
    in_specs : PartitionSpec or sequence of one or two, optional
        ``P(axis, None)`` for `a`, and a replicated spec for `b`; by default read off `a`.
    return_status : bool
        Append the status to the result.
    pad : bool
        Accepted and ignored: nothing is ever padded to the tile size.
    backend : str
        As for `jaxmg.linalg.solve`.

    Returns
    -------
    x : (N, nrhs) array
        Fully replicated, with the dtype of `b`; (N, 1) for a 1-D b. All NaN on failure.
    status : () int32 array
        Only with ``return_status=True``: 0, or 7 if `a` is not positive definite.

    Raises
    ------
    ValueError
        If a shape, `T_A`, `mesh` or a spec is wrong. Wrong shapes are AssertionErrors as well.
    TypeError
        If a dtype or the type of `in_specs` or `mesh` is wrong.

    See Also
    --------
    jaxmg.linalg.solve : the same algorithm; its docstring names the source.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, jaxmg
    >>> from jax.sharding import PartitionSpec as P
    >>> mesh = jax.make_mesh((len(jax.devices()),), ("x",))
    >>> n = 4 * len(jax.devices())
    >>> x = jaxmg.potrs(2 * jnp.eye(n), jnp.ones(n), 4, mesh, P("x", None))
    >>> x.shape == (n, 1)
    True
    """
    del pad
    a, b = as_array(a, "a"), as_array(b, "b")
    check_square(a)
    check_right_hand_side(a, b)
    tile = positive_int(T_A, "T_A")
    ranks = _ranks(mesh, in_specs, (a, b), most_specs=2)
    call = make_call("potrs", a, ranks, tile, backend, None, count=math.prod(b.shape[1:]))
    x, status = _potrs(*_sharding.place_all(call.ranks, a, b), call=call)
    return (x, status) if return_status else x


@_sharding.program()
def _potrs(a, b, *, call: Call):
    a = _sharding.matrix_on_mesh(a, call.ranks)
    b = _sharding.on_mesh(b if b.ndim == 2 else b[:, None], call.ranks)
    x, info, _ = _derivatives.factor_and_solve(call, PartitionSpec(None, None), a, b)
    return x, _status(info)


def potrs_shardmap_ctx(a, b, T_A=None, pad=True, *, axis_name=None, backend="auto"):
    """Solve ``A @ x = b`` from inside the caller's ``shard_map`` (with ``check_vma=False``).

    Parameters
    ----------
    a : (N / P, N) array
        This rank's rows of the matrix; see `potrs`.
    b : (N, nrhs) array
        All right-hand sides, the same on every rank.
    T_A : int, optional
        Tile size, a hint.
    pad : bool
        Accepted and ignored.
    axis_name : str or tuple of str, optional
        The axis over which the rows are dealt. Needed only on a mesh where the shape of `a` fits
        several axes.
    backend : str
        As for `jaxmg.linalg.solve`.

    Returns
    -------
    x : (N, nrhs) array
        The same on every rank; all NaN on failure.
    status : (1,) int32 array
        0, or 7 if the matrix is not positive definite; the same on every rank.

    Raises
    ------
    ValueError
        If a shape or `T_A` is wrong, no axis of the mesh fits the shape of `a`, or there is no
        enclosing ``shard_map``. Wrong shapes are AssertionErrors as well.
    TypeError
        If a dtype is wrong.
    """
    del pad
    b = as_array(b, "b")
    if b.ndim != 2:
        raise ArgumentError(f"b must be a 2D array inside shard_map, got shape {b.shape}")
    a, call = _on_shards("potrs", a, T_A, axis_name, backend, count=b.shape[1])
    check_right_hand_side(a, b)
    x, info = _cholesky.posv_on_shards(a, b, call)
    return x, _status(info)[None]


def potri(a, T_A=None, mesh=None, in_specs=None, return_status=False, pad=True, *, backend="auto"):
    """Invert a Hermitian positive definite matrix, by Cholesky factorisation.

    Parameters
    ----------
    a, T_A, mesh, in_specs, return_status, pad, backend
        As for `potrs`; `in_specs` is a single spec.

    Returns
    -------
    x : (N, N) array
        The inverse, both triangles, sharded ``P(axis, None)`` if the rows divide evenly among the
        devices. All NaN on failure.
    status : () int32 array
        Only with ``return_status=True``: 0, or 7 if `a` is not positive definite.

    Raises
    ------
    ValueError, TypeError
        As `potrs` does.

    See Also
    --------
    jaxmg.linalg.inv : the same algorithm.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, jaxmg
    >>> from jax.sharding import PartitionSpec as P
    >>> mesh = jax.make_mesh((len(jax.devices()),), ("x",))
    >>> n = 4 * len(jax.devices())
    >>> x = jaxmg.potri(4 * jnp.eye(n), 4, mesh, P("x", None))
    >>> bool((x == jnp.eye(n) / 4).all())
    True
    """
    del pad
    a = as_array(a, "a")
    check_square(a)
    tile = positive_int(T_A, "T_A")
    ranks = _ranks(mesh, in_specs, (a,), most_specs=1)
    call = make_call("potri", a, ranks, tile, backend, None)
    spec = _sharding.row_spec(a.shape[0], call.ranks)
    x, status = _potri(*_sharding.place_all(call.ranks, a), call=call, spec=spec)
    return (x, status) if return_status else x


@_sharding.program("spec")
def _potri(a, *, call: Call, spec):
    a = _sharding.matrix_on_mesh(a, call.ranks)
    data, info = _derivatives.factor(call, a)
    x = _derivatives.inverse(call.of_factor(a), data)
    return _row_blocks.to_matrix(x, call=call, spec=spec), _status(info)


def potri_shardmap_ctx(a, T_A=None, pad=True, *, axis_name=None, backend="auto"):
    """Invert from inside the caller's ``shard_map`` (with ``check_vma=False``).

    Parameters
    ----------
    a, T_A, pad, axis_name, backend
        As for `potrs_shardmap_ctx`.

    Returns
    -------
    x : (N / P, N) array
        This rank's rows of the inverse, both triangles (of JAXMg 0.0.x, only the upper one is to be
        relied on: `potri_symmetrize` fills in the other). All NaN on failure.
    status : (1,) int32 array
        0, or 7 if the matrix is not positive definite; the same on every rank.

    Raises
    ------
    ValueError, TypeError
        As `potrs_shardmap_ctx` does.
    """
    del pad
    a, call = _on_shards("potri", a, T_A, axis_name, backend)
    x, info = _cholesky.inverse_on_shards(a, call)
    return x, _status(info)[None]


def potri_symmetrize(a):
    """Return the Hermitian matrix that has the upper triangle of `a`, elements with ``j >= i``.

    Parameters
    ----------
    a : (N, N) array
        float32, float64, complex64 or complex128, of any sharding.

    Returns
    -------
    (N, N) array
        With the sharding of `a`.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> jaxmg.potri_symmetrize(jnp.array([[1.0, 2.0], [7.0, 3.0]])).tolist()
    [[1.0, 2.0], [2.0, 3.0]]
    """
    a = as_array(a, "a")
    check_square(a)
    call = Call(_sharding.ranks_of(a))
    (placed,) = _sharding.place_all(call.ranks, a)
    spec = _sharding.spec_on(a, call.ranks.mesh) or _sharding.row_spec(a.shape[0], call.ranks)
    return _sharding.keep_sharding(_symmetrized(placed, call=call, spec=spec), a)


@_sharding.program("spec")
def _symmetrized(a, *, call: Call, spec):
    m = _row_blocks.from_triangle(a, upper=True, call=call)
    return _row_blocks.to_matrix(m, call=call, spec=spec)


def syevd(
    a,
    T_A=None,
    mesh=None,
    in_specs=None,
    return_eigenvectors=True,
    return_status=False,
    pad=True,
    *,
    backend="auto",
):
    """Eigenvalues and eigenvectors of a Hermitian matrix.

    Parameters
    ----------
    a : (N, N) array
        float32, float64, complex64 or complex128. Only the upper triangle, the elements
        ``a[i, j]`` with ``j >= i``, is read. Wherever it lives, it is moved to where `in_specs`
        says.
    T_A : int, optional
        Tile size, a hint; above 1024 there is a warning, and 1024 is taken.
    mesh, in_specs, return_status, pad, backend
        As for `potrs`; `in_specs` is a single spec.
    return_eigenvectors : bool
        Compute eigenvectors, too.

    Returns
    -------
    w : (N,) array
        Eigenvalues, real, ascending, replicated.
    v : (N, N) array
        Only with ``return_eigenvectors=True``: one eigenvector in each column, sharded
        ``P(None, axis)`` if the columns divide evenly among the devices.
    status : () int32 array
        Only with ``return_status=True``: 0, or 7 if `a` holds NaN or infinity where it is read, or
        an iteration did not converge; everything is NaN then.

    The first is not in a tuple if it is all.

    Raises
    ------
    ValueError, TypeError
        As `potrs` does.

    Warns
    -----
    JaxMgWarning
        If `T_A` is above 1024.

    See Also
    --------
    jaxmg.linalg.eigh : the same algorithm; its docstring names the source.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, jaxmg
    >>> from jax.sharding import PartitionSpec as P
    >>> mesh = jax.make_mesh((len(jax.devices()),), ("x",))
    >>> n = 4 * len(jax.devices())
    >>> w, v = jaxmg.syevd(jnp.diag(jnp.arange(n, 0.0, -1.0)), 4, mesh, P("x", None))
    >>> bool(abs(w - jnp.arange(1, n + 1)).max() < 1e-4)
    True
    """
    del pad
    a = as_array(a, "a")
    check_square(a)
    tile = _tile_of_syevd(T_A)
    ranks = _ranks(mesh, in_specs, (a,), most_specs=1)
    vectors = a.shape[0] if return_eigenvectors else 0
    call = make_call("syevd", a, ranks, tile, backend, None, count=vectors)
    *result, status = _syevd(
        *_sharding.place_all(call.ranks, a),
        call=call,
        vectors=bool(return_eigenvectors),
        spec=_sharding.column_spec(a.shape[0], call.ranks),
    )
    result = (*result, status) if return_status else tuple(result)
    return result if len(result) > 1 else result[0]


@_sharding.program("vectors", "spec")
def _syevd(a, *, call: Call, vectors: bool, spec):
    a, n = _sharding.matrix_on_mesh(a, call.ranks), a.shape[1]
    if not vectors:
        w, aside = _eigen_derivatives.eigvals(call, UPPER, Part(0, n), (a,))
        return w, _status(aside.info)
    w, v, aside = _eigen_derivatives.eigh(call, UPPER, Part(0, n), True, (a,))
    v = _row_blocks.columns_to_matrix(v, n, call=call, spec=spec)
    return w, v, _status(aside.info)


def syevd_shardmap_ctx(
    a, T_A=None, return_eigenvectors=True, pad=True, *, axis_name=None, backend="auto"
):
    """Eigenvalues and eigenvectors from inside the caller's ``shard_map`` (``check_vma=False``).

    Parameters
    ----------
    a, pad, axis_name, backend
        As for `potrs_shardmap_ctx`.
    T_A, return_eigenvectors
        As for `syevd`.

    Returns
    -------
    w : (N,) array
        Eigenvalues, the same on every rank.
    v : (N, N / P) array
        Only with ``return_eigenvectors=True``: this rank's columns of the eigenvectors, which
        ``out_specs=P(None, axis)`` puts together.
    status : (1,) int32 array
        As for `syevd`, the same on every rank.

    Raises
    ------
    ValueError, TypeError
        As `potrs_shardmap_ctx` does.

    Warns
    -----
    JaxMgWarning
        If `T_A` is above 1024.
    """
    del pad
    a, call = _on_shards("syevd", a, _tile_of_syevd(T_A), axis_name, backend)
    *result, info = _eigen.eigh_on_shards(a, call, vectors=bool(return_eigenvectors))
    return *result, _status(info)[None]


def _tile_of_syevd(T_A) -> int | None:
    tile = positive_int(T_A, "T_A")
    if tile is not None and tile > _LARGEST_TILE_OF_SYEVD:
        warnings.warn(
            f"T_A has a maximum value of {_LARGEST_TILE_OF_SYEVD} for syevd, which is taken "
            f"instead of {tile}",
            JaxMgWarning,
            stacklevel=3,
        )
        return _LARGEST_TILE_OF_SYEVD
    return tile


def cyclic_1d(a, T_A, mesh=None, in_specs=None, pad=True):
    """Deal the rows of a row-sharded matrix to the devices in tiles, round robin.

    Parameters
    ----------
    a : (N, M) array
        float32, float64, complex64 or complex128.
    T_A : int
        Rows of a tile, at least 1.
    mesh, in_specs
        As for `potrs`; `in_specs` is a single spec.
    pad : bool
        Append zero rows so that all tiles are full; otherwise a ragged tile stays at the end of
        its shard.

    Returns
    -------
    (P * (s + padding), M) array
        Sharded ``P(axis, None)``, with s = ceil(N / P) and padding = ``calculate_padding(s, T_A)``,
        or 0 with ``pad=False``. Tile t is on device t mod P. Values are copied bit for bit.

    Raises
    ------
    ValueError
        If the shape of `a`, `T_A`, `mesh` or `in_specs` is wrong.
    TypeError
        If the dtype of `a` or the type of `in_specs` or `mesh` is wrong.
    """
    a = as_array(a, "a")
    if a.ndim != 2:
        raise ArgumentError(f"a must be a 2D array, got shape {a.shape}")
    tile = positive_int(T_A, "T_A")
    ranks = _ranks(mesh, in_specs, (a,), most_specs=1)
    if a.size == 0:
        return jnp.asarray(a)
    _native.require(ranks.platform)
    spec = ranks.rows if a.shape[0] % ranks.size == 0 else PartitionSpec()
    a = _sharding.place(a, "a", ranks, spec)
    return _cyclic(a, call=Call(ranks, tile), pad=bool(pad))


@_sharding.program("pad")
def _cyclic(a, *, call: Call, pad: bool):
    ranks, tile = call.ranks, call.tile
    shard = ranks.shard_rows(a.shape[0])
    shard += calculate_padding(shard, tile) if pad else 0
    n_rows = ranks.size * shard
    plan = call.plan("redistribute", n_rows, a.shape[1], a.dtype)

    def one_rank(a):
        return _ffi.redistribute(a, call=plan, ranks=ranks)

    def all_ranks(a):
        a = _sharding.pad_rows_to(a, n_rows)
        return _sharding.over_ranks(one_rank, ranks, (ranks.rows,), ranks.rows)(a)

    return _sharding.auto(all_ranks, ranks, ranks.rows)(a)


def _ranks(mesh, in_specs, arrays, *, most_specs: int) -> Ranks:
    """Return the ranks that `mesh` and `in_specs` name; what is left out is read off the arrays."""
    if in_specs is None and mesh is None:
        return _sharding.ranks_of(*arrays)
    mesh = _sharding.given_mesh(mesh, arrays)
    if in_specs is None:
        return _sharding.ranks_on(mesh, tuple(mesh.axis_names), arrays)
    a_spec, *b_specs = _specs(in_specs, most_specs)
    axes = _sharding.row_axes(mesh, a_spec)
    if axes is None:
        raise ValueError(
            f"A must be sharded along the rows, with in_specs P(axis, None); got {a_spec}"
        )
    if any(entry is not None for spec in b_specs for entry in spec):
        raise ValueError(f"b must be replicated, with the spec P(None, None); got {b_specs[0]}")
    return _sharding.ranks_on(mesh, axes, arrays)


def _on_shards(routine, a, T_A, axis_name, backend, *, count=None):
    """Return a rank's rows, checked, and how to call a routine on those of all ranks."""
    a = as_array(a, "a")
    if a.ndim != 2:
        raise ArgumentError(f"a must be a 2D array, got shape {a.shape}")
    tile = positive_int(T_A, "T_A")
    axes = _sharding.manual_axes(a.shape[1], a.shape[0], axis_name)
    ranks = _sharding.make_ranks(jax.sharding.get_abstract_mesh(), axes, (a,))
    return a, make_call(routine, a, ranks, tile, backend, None, count=count)


def _specs(in_specs, most: int) -> list[PartitionSpec]:
    # A PartitionSpec is a tuple in older JAX, so it is recognised first.
    specs = [in_specs] if isinstance(in_specs, PartitionSpec) else in_specs
    if not isinstance(specs, (tuple, list)) or not all(
        isinstance(spec, PartitionSpec) for spec in specs
    ):
        raise TypeError(
            f"in_specs must be a PartitionSpec, or a tuple or list of them; got {in_specs!r}"
        )
    if not 1 <= len(specs) <= most:
        more = " (or two: for a and b)" if most == 2 else ""
        raise ValueError(f"in_specs must be a single PartitionSpec{more}, got {len(specs)} of them")
    return list(specs)


def _status(info):
    return jnp.where(info == 0, 0, _FAILED).astype(np.int32)
