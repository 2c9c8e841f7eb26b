"""The functions of JAXMg 0.0.x and 1.4, with the arguments and results existing code relies on.

`potrs`, `potri`, `syevd` and `cyclic_1d` have the results of 0.0.x. The ``*_shardmap_ctx``
functions have two meanings: inside the caller's ``shard_map`` they work on local shards, as in
0.0.x; elsewhere on global arrays, as in 1.4.

New code should use `jaxmg.linalg`.
"""

import math
import warnings
from dataclasses import dataclass

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
    as_arrays,
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
    a,
    b,
    T_A=None,
    mesh=None,
    in_specs=None,
    return_status=False,
    pad=True,
    *,
    matrix_specs=None,
    donate=False,
    backend="auto",
):
    """Solve ``a @ x = b`` for a Hermitian positive definite `a`, by Cholesky factorisation.

    Parameters
    ----------
    a : (N, N) array
        float32, float64, complex64 or complex128. Only the upper triangle, the elements
        ``a[i, j]`` with ``j >= i``, is read. Wherever it lives, it is moved to where `in_specs`
        says.
    b : (N,) or (N, nrhs) array
        Right-hand sides. Dtypes are promoted as by `jaxmg.linalg.solve`.
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
    matrix_specs : PartitionSpec or sequence of one, optional
        1.4's name for the spec of `a`. It may shard rows, columns or both. With `in_specs` as well,
        the two must agree.
    donate : bool
        As for `jaxmg.linalg.solve`.
    backend : str
        As for `jaxmg.linalg.solve`.

    Returns
    -------
    x : (N, nrhs) array
        Fully replicated, with the common dtype, that of `b` where dtypes agree; (N, 1) for a 1-D b.
        All NaN on failure.
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
    a, b = as_arrays(("a", a), ("b", b))
    check_square(a)
    check_right_hand_side(a, b)
    tile = positive_int(T_A, "T_A")
    specs = _Specs.given(in_specs, matrix_specs, with_b=True)
    ranks = _ranks(mesh, specs, (a, b))
    call = make_call("potrs", a, ranks, tile, backend, None, count=math.prod(b.shape[1:]))
    placed = _sharding.place_all(call.ranks, a, b)
    replicated = PartitionSpec(None, None)
    x, status, _ = _potrs(*placed, call=call, x_spec=replicated, column=True, donate=donate)
    return (x, status) if return_status else x


@_sharding.program("x_spec", "column")
def _potrs(a, b, *, call: Call, x_spec, column: bool):
    # XLA lets a program overwrite a donated argument only where a result takes its place: so the
    # factor is one.
    a = _sharding.matrix_on_mesh(a, call.ranks)
    b = _sharding.on_mesh(b[:, None] if column and b.ndim == 1 else b, call.ranks)
    x, info, factor = _derivatives.factor_and_solve(call, x_spec, a, b)
    return x, _status(info), factor


def potrs_shardmap_ctx(
    a,
    b,
    T_A=None,
    pad=True,
    *,
    mesh=None,
    matrix_specs=None,
    in_specs=None,
    axis_name=None,
    backend="auto",
):
    """Solve ``A @ x = b`` for global arrays (1.4) or inside the caller's ``shard_map`` (0.0.x).

    Inside ``shard_map`` the arguments are the shards of one rank and the result is ``(x, status)``.
    Elsewhere, in ``jit`` or not, they are global arrays and the result is ``(A_work, x, status)``.

    Parameters
    ----------
    a : (N, N) array, or inside ``shard_map`` (N / P, N)
        The matrix, as for `potrs`, with any sharding. Inside ``shard_map``, this rank's rows of it.
    b : (N,) or (N, nrhs) array, or inside ``shard_map`` (N, nrhs)
        Right-hand sides, with any sharding. Inside ``shard_map`` all of them, the same on every
        rank.
    T_A : int, optional
        Tile size, a hint.
    pad : bool
        Accepted and ignored.
    mesh : Mesh or AbstractMesh, optional
        The devices; by default those of the arrays, or else of the mesh that is entered. Inside
        ``shard_map``, its mesh.
    matrix_specs, in_specs : PartitionSpec, optional
        The spec of `a`, as for `potrs`; by default read off `a`. Inside ``shard_map``, the spec
        with which `a` came there.
    axis_name : str or tuple of str, optional
        Inside ``shard_map``, the axis over which the rows are dealt. Needed only on a mesh where
        the shape of `a` fits several axes.
    backend : str
        As for `jaxmg.linalg.solve`.

    Returns
    -------
    A_work : (N, N) array
        Only outside ``shard_map``: what is left of `a`, to be ignored.
    x : array
        Outside ``shard_map``, with the shape and the sharding of `b`. Inside, (N, nrhs) and the
        same on every rank. All NaN on failure.
    status : int32 array
        0, or 7 if the matrix is not positive definite; the same on every rank. The shape is (), or
        (1,) inside ``shard_map``.

    Raises
    ------
    ValueError
        If a shape, `T_A`, `mesh` or a spec is wrong, `axis_name` is given outside ``shard_map``,
        or no axis of the mesh fits the shape of `a` inside. Wrong shapes are AssertionErrors as
        well.
    TypeError
        If a dtype or the type of `mesh` or a spec is wrong.

    Notes
    -----
    No argument is overwritten. With Auto axes, ``jit`` does not show how an array is sharded: XLA
    then chooses the sharding of x.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> _, x, status = jaxmg.potrs_shardmap_ctx(4 * jnp.eye(3), jnp.ones(3), T_A=2)
    >>> x.tolist(), int(status)
    ([0.25, 0.25, 0.25], 0)
    """
    del pad
    where = _Where(mesh, _Specs.given(in_specs, matrix_specs, with_b=True), axis_name)
    a, b = as_arrays(("a", a), ("b", b))
    if _sharding.in_shard_map():
        if b.ndim != 2:
            raise ArgumentError(f"b must be a 2D array inside shard_map, got shape {b.shape}")
        a, call = _on_shards("potrs", a, T_A, where, backend, count=b.shape[1])
        check_right_hand_side(a, b)
        x, info = _cholesky.posv_on_shards(a, b, call)
        return x, _status(info)[None]
    nrhs = math.prod(b.shape[1:])
    a, call, _ = _on_mesh("potrs", a, T_A, where, backend, b, count=nrhs)
    x_spec = _sharding.spec_on(b, call.ranks.mesh)
    placed = _sharding.place_all(call.ranks, a, b)
    x, status, _ = _potrs(*placed, call=call, x_spec=x_spec, column=False)
    return a, _sharding.keep_sharding(x, b), status


def potri(
    a,
    T_A=None,
    mesh=None,
    in_specs=None,
    return_status=False,
    pad=True,
    *,
    matrix_specs=None,
    donate=False,
    backend="auto",
):
    """Invert a Hermitian positive definite matrix, by Cholesky factorisation.

    Parameters
    ----------
    a, T_A, mesh, in_specs, return_status, pad, matrix_specs, donate, backend
        As for `potrs`; `in_specs` is a single spec.

    Returns
    -------
    x : (N, N) array
        The inverse, both triangles, sharded ``P(axis, None)`` if the rows divide evenly among the
        devices; as `matrix_specs` says if only that is given. All NaN on failure.
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
    specs = _Specs.given(in_specs, matrix_specs)
    ranks = _ranks(mesh, specs, (a,))
    call = make_call("potri", a, ranks, tile, backend, None)
    spec = specs.of_result(a, call.ranks, _sharding.row_spec)
    (placed,) = _sharding.place_all(call.ranks, a)
    x, status = _potri(placed, call=call, spec=spec, donate=donate)
    return (x, status) if return_status else x


@_sharding.program("spec")
def _potri(a, *, call: Call, spec):
    a = _sharding.matrix_on_mesh(a, call.ranks)
    data, info = _derivatives.factor(call, a)
    x = _derivatives.inverse(call.of_factor(a), data)
    return _row_blocks.to_matrix(x, call=call, spec=spec), _status(info)


def potri_shardmap_ctx(
    a,
    T_A=None,
    pad=True,
    *,
    mesh=None,
    matrix_specs=None,
    in_specs=None,
    axis_name=None,
    backend="auto",
):
    """Invert a global matrix, or inside the caller's ``shard_map`` one in local shards (0.0.x).

    Either way the result is ``(x, status)``: the inverse is what is left of `a`.

    Parameters
    ----------
    a, T_A, pad, mesh, matrix_specs, in_specs, axis_name, backend
        As for `potrs_shardmap_ctx`.

    Returns
    -------
    x : (N, N) array, or inside ``shard_map`` (N / P, N)
        The inverse, both triangles, with the sharding of `a`. Inside ``shard_map``, this rank's
        rows of it (of JAXMg 0.0.x, only the upper triangle is to be relied on: `potri_symmetrize`
        fills in the other). All NaN on failure.
    status : int32 array
        As for `potrs_shardmap_ctx`.

    Raises
    ------
    ValueError, TypeError
        As `potrs_shardmap_ctx` does.

    Notes
    -----
    With Auto axes, ``jit`` does not show how `a` is sharded: x is then as `matrix_specs` says, by
    default in rows.
    """
    del pad
    where = _Where(mesh, _Specs.given(in_specs, matrix_specs), axis_name)
    if _sharding.in_shard_map():
        a, call = _on_shards("potri", a, T_A, where, backend)
        x, info = _cholesky.inverse_on_shards(a, call)
        return x, _status(info)[None]
    a, call, spec = _on_mesh("potri", a, T_A, where, backend)
    x, status = _potri(*_sharding.place_all(call.ranks, a), call=call, spec=spec)
    return _sharding.keep_sharding(x, a), status


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
    matrix_specs=None,
    donate=False,
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
    mesh, in_specs, return_status, pad, matrix_specs, donate, backend
        As for `potrs`; `in_specs` is a single spec.
    return_eigenvectors : bool
        Compute eigenvectors, too.

    Returns
    -------
    w : (N,) array
        Eigenvalues, real, ascending, replicated.
    v : (N, N) array
        Only with ``return_eigenvectors=True``: one eigenvector in each column, sharded
        ``P(None, axis)`` if the columns divide evenly among the devices; as `matrix_specs` says if
        only that is given.
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
    specs = _Specs.given(in_specs, matrix_specs)
    ranks = _ranks(mesh, specs, (a,))
    vectors = a.shape[0] if return_eigenvectors else 0
    call = make_call("syevd", a, ranks, tile, backend, None, count=vectors)
    spec = specs.of_result(a, call.ranks, _sharding.column_spec)
    (placed,) = _sharding.place_all(call.ranks, a)
    options = dict(vectors=bool(return_eigenvectors), spec=spec, donate=donate)
    *result, status = _syevd(placed, call=call, **options)
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
    a,
    T_A=None,
    return_eigenvectors=True,
    pad=True,
    *,
    mesh=None,
    matrix_specs=None,
    in_specs=None,
    axis_name=None,
    backend="auto",
):
    """Eigenvalues and eigenvectors of a global matrix (1.4) or inside ``shard_map`` (0.0.x).

    Inside the caller's ``shard_map`` `a` is the shard of one rank and the result is
    ``(w, v, status)``. Elsewhere, in ``jit`` or not, `a` is a global array and the result is
    ``(A_work, w, v, status)``.

    Parameters
    ----------
    a, pad, mesh, matrix_specs, in_specs, axis_name, backend
        As for `potrs_shardmap_ctx`.
    T_A, return_eigenvectors
        As for `syevd`.

    Returns
    -------
    A_work : (N, N) array
        Only outside ``shard_map``: what is left of `a`, to be ignored.
    w : (N,) array
        Eigenvalues, real, ascending, replicated. All NaN on failure.
    v : (N, N) array, or inside ``shard_map`` (N, N / P)
        Only with ``return_eigenvectors=True``: one eigenvector in each column, with the sharding of
        `a`. Inside ``shard_map``, this rank's columns, which ``out_specs=P(None, axis)`` puts
        together. All NaN on failure.
    status : int32 array
        0, or 7 as for `syevd`; the same on every rank. The shape is (), or (1,) inside
        ``shard_map``.

    Raises
    ------
    ValueError, TypeError
        As `potrs_shardmap_ctx` does.

    Warns
    -----
    JaxMgWarning
        If `T_A` is above 1024.

    Notes
    -----
    With Auto axes, ``jit`` does not show how `a` is sharded: v is then as `matrix_specs` says, by
    default in rows.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> _, w, v, status = jaxmg.syevd_shardmap_ctx(jnp.diag(jnp.array([3.0, 1.0, 2.0])), T_A=2)
    >>> jnp.allclose(w, jnp.array([1.0, 2.0, 3.0])).item(), v.shape, int(status)
    (True, (3, 3), 0)
    """
    del pad
    where = _Where(mesh, _Specs.given(in_specs, matrix_specs), axis_name)
    vectors, tile = bool(return_eigenvectors), _tile_of_syevd(T_A)
    if _sharding.in_shard_map():
        a, call = _on_shards("syevd", a, tile, where, backend)
        *result, info = _eigen.eigh_on_shards(a, call, vectors=vectors)
        return *result, _status(info)[None]
    count = None if vectors else 0
    a, call, spec = _on_mesh("syevd", a, tile, where, backend, count=count)
    (placed,) = _sharding.place_all(call.ranks, a)
    w, *of_vectors, status = _syevd(placed, call=call, vectors=vectors, spec=spec)
    return a, w, *(_sharding.keep_sharding(v, a) for v in of_vectors), status


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


def cyclic_1d(a, T_A, mesh=None, in_specs=None, pad=True, *, matrix_specs=None):
    """Deal the rows of a row-sharded matrix to the devices in tiles, round robin.

    Parameters
    ----------
    a : (N, M) array
        float32, float64, complex64 or complex128.
    T_A : int
        Rows of a tile, at least 1.
    mesh, in_specs, matrix_specs
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
    ranks = _ranks(mesh, _Specs.given(in_specs, matrix_specs), (a,))
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


# --- meshes and specs that callers name -------------------------------------------------------


@dataclass(frozen=True)
class _Specs:
    """The specs that a caller named, by either argument; empty if none was."""

    in_specs: tuple[PartitionSpec, ...] = ()  # 0.0.x: of a, in rows, and perhaps of b.
    matrix_specs: PartitionSpec | None = None  # 1.4: of a, in any form.
    with_b: bool = False

    @classmethod
    def given(cls, in_specs, matrix_specs, *, with_b=False) -> "_Specs":
        most = 2 if with_b else 1
        specs = () if in_specs is None else _as_specs(in_specs, "in_specs", most)
        if matrix_specs is None:
            return cls(specs, None, with_b)
        (of_a,) = _as_specs(matrix_specs, "matrix_specs", 1)
        if len(of_a) > 2:
            raise ValueError(f"matrix_specs must have at most 2 entries, for a matrix; got {of_a}")
        if specs and not _sharding.same_spec(specs[0], of_a):
            raise ValueError(
                "in_specs and matrix_specs are two names of the same argument, but differ for a: "
                f"got {specs[0]} and {of_a}; pass one of them"
            )
        return cls(specs, of_a, with_b)

    def axes(self, mesh) -> tuple[str, ...] | None:
        """Return the axes that a is spread over, None if no spec was given."""
        if self.in_specs:
            return self._row_axes(mesh)
        if self.matrix_specs is not None:
            return _sharding.matrix_axes(mesh, self.matrix_specs, "matrix_specs")
        return None

    def _row_axes(self, mesh) -> tuple[str, ...]:
        a_spec, *b_specs = self.in_specs
        axes = _sharding.row_axes(mesh, a_spec)
        if axes is None:
            # Of potrs, JAXMg 0.0.x says columns.
            columns = "A must be sharded along the columns of its transpose, that is: "
            raise ValueError(
                f"{columns if self.with_b else ''}A must be sharded along the rows with "
                f"PartitionSpec P(str, None), got in_specs {a_spec}; another sharding of a can be "
                "named by matrix_specs"
            )
        if any(entry is not None for spec in b_specs for entry in spec):
            raise ValueError(f"b must be replicated, with the spec P(None, None); got {b_specs[0]}")
        return axes

    def of_result(self, a, ranks: Ranks, otherwise) -> PartitionSpec | None:
        """Return 1.4's spec for a matrix like a, or ``otherwise(n, ranks)`` if it is not given.

        None where the matrix does not divide evenly.
        """
        if self.in_specs or self.matrix_specs is None or ranks.mesh is None:
            return otherwise(a.shape[0], ranks)
        return _sharding.even_spec(self.matrix_specs, a.shape, ranks.mesh)


@dataclass(frozen=True)
class _Where:
    """What a caller of a ``*_shardmap_ctx`` function said about where the matrix is."""

    mesh: object
    specs: _Specs
    axis_name: object


def _ranks(mesh, specs: _Specs, arrays) -> Ranks:
    """Return the ranks that `mesh` and `specs` name; what is left out is read off the arrays."""
    named = specs.in_specs or specs.matrix_specs is not None
    if mesh is None and not named:
        return _sharding.ranks_of(*arrays)
    mesh = _sharding.given_mesh(mesh, arrays)
    axes = specs.axes(mesh) if named else tuple(mesh.axis_names)
    return _sharding.ranks_on(mesh, axes, arrays)


def _on_mesh(routine, a, T_A, where: _Where, backend, *b, count=None):
    """Return a global matrix, checked, how to call a routine, and the spec of a matrix like it."""
    a = as_array(a, "a")
    check_square(a)
    for right_hand_side in b:
        check_right_hand_side(a, right_hand_side)
    if where.axis_name is not None:
        raise ValueError(
            "axis_name is for calls inside shard_map, and this one is not: got "
            f"{where.axis_name!r}; name the sharding of a by matrix_specs"
        )
    tile = positive_int(T_A, "T_A")
    ranks = _ranks(where.mesh, where.specs, (a, *b))
    call = make_call(routine, a, ranks, tile, backend, None, count=count)
    spec = _sharding.spec_on(a, call.ranks.mesh)
    if spec is None:
        spec = where.specs.of_result(a, call.ranks, _sharding.row_spec)
    return a, call, spec


def _on_shards(routine, a, T_A, where: _Where, backend, *, count=None):
    """Return a rank's rows, checked, and how to call a routine on those of all ranks."""
    a = as_array(a, "a")
    if a.ndim != 2:
        raise ArgumentError(f"a must be a 2D array, got shape {a.shape}")
    tile = positive_int(T_A, "T_A")
    mesh = jax.sharding.get_abstract_mesh()
    axes = _sharding.manual_axes(a, _axes_of_rows(mesh, where))
    ranks = _sharding.make_ranks(mesh, axes, (a,))
    return a, make_call(routine, a, ranks, tile, backend, None, count=count)


def _axes_of_rows(mesh, where: _Where):
    """Return the axes of the enclosing ``shard_map`` that the caller named, None if none."""
    given, specs, axis_name = where.mesh, where.specs, where.axis_name
    if given is not None and _sharding.given_mesh(given, ()).shape_tuple != mesh.shape_tuple:
        raise ValueError(
            f"mesh must be that of the enclosing shard_map, {dict(mesh.shape)}; got "
            f"{dict(given.shape)}: leave it out"
        )
    axes = specs.axes(mesh)
    if axes is None:
        return axis_name
    if not specs.in_specs and _sharding.row_axes(mesh, specs.matrix_specs) is None:
        raise ValueError(
            "inside shard_map, a must be in shards of rows, with matrix_specs P(axis, None); got "
            f"{specs.matrix_specs}"
        )
    if axis_name not in (None, axes, *(axes if len(axes) == 1 else ())):
        raise ValueError(
            f"axis_name={axis_name!r} and the spec of a, over {axes}, name different axes: "
            "pass one of them"
        )
    return axes


def _as_specs(specs, name: str, most: int) -> tuple[PartitionSpec, ...]:
    # A PartitionSpec is a tuple in older JAX, so it is recognised first.
    specs = [specs] if isinstance(specs, PartitionSpec) else specs
    both = " (or a 2-element one, for a and b)" if most == 2 else ""
    if not isinstance(specs, (tuple, list)) or not all(
        isinstance(spec, PartitionSpec) for spec in specs
    ):
        raise TypeError(
            f"{name} must be a PartitionSpec or a 1-element list/tuple containing one{both}; "
            f"got {specs!r}"
        )
    if not 1 <= len(specs) <= most:
        raise ValueError(
            f"{name} must be a single PartitionSpec or a 1-element list/tuple{both}; "
            f"got {len(specs)} of them"
        )
    return tuple(specs)


def _status(info):
    return jnp.where(info == 0, 0, _FAILED).astype(np.int32)
