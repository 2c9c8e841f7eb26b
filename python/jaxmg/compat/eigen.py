"""`syevd` of JAXMg 0.0.x and `syevd_shardmap_ctx`."""

import warnings

from jaxmg._arguments import (
    as_array,
    check_square,
    positive_int,
)
from jaxmg._linalg.options import Options, make_call, takes
from jaxmg._mesh import placement, programs
from jaxmg._mesh.manual import in_shard_map
from jaxmg._mesh.ranks import column_spec
from jaxmg._programs import eigen, row_blocks
from jaxmg._programs.call import Call
from jaxmg._programs.eigen import UPPER, Part
from jaxmg._rules import eigen as rules
from jaxmg._warning import JaxMgWarning
from jaxmg.compat.arguments import Specs, Where, located, named_ranks, on_mesh, on_shards, status_of

_LARGEST_TILE_OF_SYEVD = 1024


@takes("backend", "donate")
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
    options: Options,
):
    """Eigenvalues and eigenvectors of a Hermitian matrix.

    Parameters
    ----------
    a : (N, N) array
        float32, float64, complex64 or complex128. Only the upper triangle, the elements
        ``a[i, j]`` with ``j >= i``, is read. It is moved to the sharding given by `in_specs`.
    T_A : int, optional
        Tile size, a hint; values above 1024 are reduced to 1024, with a warning.
    mesh, in_specs, return_status, pad, matrix_specs
        As for `potrs`, with a single spec.
    return_eigenvectors : bool
        Also compute eigenvectors.
    {options}

    Returns
    -------
    w : (N,) array
        Eigenvalues, real, ascending, replicated.
    v : (N, N) array
        Only with ``return_eigenvectors=True``: one eigenvector in each column, sharded
        ``P(None, axis)`` if the columns divide evenly among the devices, or by `matrix_specs` if
        only that is given.
    status : () int32 array
        Only with ``return_status=True``: 0, or 7 if `a` holds NaN or infinity where it is read, or
        an iteration did not converge; all results are then NaN. A single result
        is returned as an array, not as a tuple.

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
    tile = _tile_of_syevd(T_A, decorators=1)
    specs = Specs.given(in_specs, matrix_specs)
    ranks = named_ranks(mesh, specs, (a,))
    vectors = a.shape[0] if return_eigenvectors else 0
    call = make_call("syevd", a, ranks, options.with_tile(tile), count=vectors)
    spec = specs.of_result(a, call.ranks, column_spec)
    (placed,) = placement.place_all(call.ranks, a)
    static = dict(vectors=bool(return_eigenvectors), spec=spec)
    *result, status = _syevd(placed, call=call, donate=options.donate, **static)
    result = (*result, status) if return_status else tuple(result)
    return result if len(result) > 1 else result[0]


@programs.program("vectors", "spec")
def _syevd(a, *, call: Call, vectors: bool, spec):
    a, n = programs.matrix_on_mesh(a, call.ranks), a.shape[1]
    if not vectors:
        w, aside = rules.eigvals(call, UPPER, Part(0, n), (a,))
        return w, status_of(aside.info)
    w, v, aside = rules.eigh(call, UPPER, Part(0, n), True, (a,))
    v = row_blocks.columns_to_matrix(v, n, call=call, spec=spec)
    return w, v, status_of(aside.info)


@takes("backend")
@located
def syevd_shardmap_ctx(
    a, T_A=None, return_eigenvectors=True, pad=True, *, where: Where, options: Options
):
    """Eigenvalues and eigenvectors of a global matrix (1.4) or inside ``shard_map`` (0.0.x).

    Inside the caller's ``shard_map`` `a` is the shard of one rank and the result is
    ``(w, v, status)``. Elsewhere, in ``jit`` or not, `a` is a global array and the result is
    ``(A_work, w, v, status)``.

    Parameters
    ----------
    a, pad
        As for `potrs_shardmap_ctx`.
    T_A, return_eigenvectors
        As for `syevd`.
    {where}
    {options}

    Returns
    -------
    A_work : (N, N) array
        Only outside ``shard_map``: the work array of 1.4, with undefined contents.
    w : (N,) array
        Eigenvalues, real, ascending, replicated. All NaN on failure.
    v : (N, N) array, or inside ``shard_map`` (N, N / P)
        Only with ``return_eigenvectors=True``: one eigenvector in each column, with the sharding of
        `a`. Inside ``shard_map``, this rank's columns, which ``out_specs=P(None, axis)``
        concatenates. All NaN on failure.
    status : int32 array
        0, or 7 as for `syevd`; replicated. The shape is (), or (1,) inside ``shard_map``.

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
    With Auto axes, the sharding of `a` is unknown inside ``jit``: v is then sharded by
    `matrix_specs`, by default over rows.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> _, w, v, status = jaxmg.syevd_shardmap_ctx(jnp.diag(jnp.array([3.0, 1.0, 2.0])), T_A=2)
    >>> jnp.allclose(w, jnp.array([1.0, 2.0, 3.0])).item(), v.shape, int(status)
    (True, (3, 3), 0)
    """
    del pad
    specs = where.specs()
    vectors, tile = bool(return_eigenvectors), _tile_of_syevd(T_A, decorators=2)
    if in_shard_map():
        a, call = on_shards("syevd", a, tile, where, specs, options)
        *result, info = eigen.eigh_on_shards(a, call, vectors=vectors)
        return *result, status_of(info)[None]
    count = None if vectors else 0
    a, call, spec = on_mesh("syevd", a, tile, where, specs, options, count=count)
    (placed,) = placement.place_all(call.ranks, a)
    w, *of_vectors, status = _syevd(placed, call=call, vectors=vectors, spec=spec)
    return a, w, *(placement.keep_sharding(v, a) for v in of_vectors), status


def _tile_of_syevd(T_A, *, decorators: int) -> int | None:
    """Return the tile size, at most 1024; `decorators` is their number on the public function."""
    tile = positive_int(T_A, "T_A")
    if tile is not None and tile > _LARGEST_TILE_OF_SYEVD:
        warnings.warn(
            f"T_A has a maximum value of {_LARGEST_TILE_OF_SYEVD} for syevd, which is taken "
            f"instead of {tile}",
            JaxMgWarning,
            stacklevel=3 + decorators,
        )
        return _LARGEST_TILE_OF_SYEVD
    return tile
