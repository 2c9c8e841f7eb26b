"""`cyclic_1d`: redistribution of rows in tiles, round-robin over the devices."""

import jax.numpy as jnp
from jax.sharding import PartitionSpec

from jaxmg._arguments import as_matrix, positive_int
from jaxmg._mesh import placement, programs
from jaxmg._native import ffi, loading
from jaxmg._programs.call import Call, Placement
from jaxmg.compat.arguments import Specs, named_ranks
from jaxmg.compat.layout import calculate_padding


def cyclic_1d(a, T_A, mesh=None, in_specs=None, pad=True, *, matrix_specs=None):
    """Redistribute the rows of a row-sharded matrix over the devices in tiles, round-robin.

    Parameters
    ----------
    a : (N, M) array
        float32, float64, complex64 or complex128.
    T_A : int
        Rows of a tile, at least 1.
    mesh, in_specs, matrix_specs
        As for `potrs`, with a single spec.
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
        If the shape of `a`, `T_A`, `mesh` or `in_specs` is invalid.
    TypeError
        If the dtype of `a` or the type of `in_specs` or `mesh` is invalid.
    """
    a = as_matrix(a)
    tile = positive_int(T_A, "T_A")
    ranks = named_ranks(mesh, Specs.given(in_specs, matrix_specs), (a,))
    if a.size == 0:
        return jnp.asarray(a)
    loading.require(ranks.platform)
    spec = ranks.rows if a.shape[0] % ranks.size == 0 else PartitionSpec()
    a = placement.place(a, "a", ranks, spec)
    return _cyclic(a, call=Call(ranks, Placement.rows(ranks), tile), pad=bool(pad))


@programs.program("pad")
def _cyclic(a, *, call: Call, pad: bool):
    ranks, tile = call.ranks, call.tile
    shard = ranks.shard_rows(a.shape[0])
    shard += calculate_padding(shard, tile) if pad else 0
    n_rows = ranks.size * shard
    plan = call.plan("redistribute", n_rows, a.shape[1], a.dtype)

    def one_rank(a):
        return ffi.redistribute(a, call=plan, ranks=ranks)

    def all_ranks(a):
        a = programs.pad_rows_to(a, n_rows)
        return programs.over_ranks(one_rank, ranks, (ranks.rows,), ranks.rows)(a)

    return programs.auto(all_ranks, ranks, ranks.rows)(a)
