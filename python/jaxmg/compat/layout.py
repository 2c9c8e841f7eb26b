"""Row-block and row-cyclic layouts: row indices, padding, verification and plots.

A matrix of ``ranks`` shards of ``shard`` rows is cut into tiles of ``tile`` rows, shard by shard.
The full tiles are dealt to the ranks round-robin. If the tile does not divide a shard, the shard
ends in a ragged tile, which stays at its end.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from jaxmg._arguments import positive_int

__all__ = [
    "calculate_padding",
    "get_cols_cyclic",
    "pad_rows",
    "plot_block_to_cyclic",
    "unpad_rows",
    "verify_cyclic",
]


def calculate_padding(shard_size, T_A):
    """Return the number of padding rows that make `shard_size` a multiple of `T_A`.

    Examples
    --------
    >>> calculate_padding(12, 5)
    3
    """
    return -shard_size % positive_int(T_A, "T_A")


def pad_rows(a, padding):
    """Append `padding` zero rows to a local block ``(rows, columns)``; the dtype is kept.

    Raises
    ------
    ValueError
        If `padding` is negative.
    """
    if padding < 0:
        raise ValueError(f"padding must not be negative, got {padding}")
    return jnp.pad(a, ((0, padding), (0, 0))) if padding else a


def unpad_rows(a, padding):
    """Drop the last `padding` rows of a local block ``(rows, columns)``.

    Raises
    ------
    ValueError
        If `padding` is negative or exceeds the number of rows.
    """
    rows = a.shape[0]
    if not 0 <= padding <= rows:
        raise ValueError(f"padding must lie between 0 and the {rows} rows of a, got {padding}")
    return a[: rows - padding] if padding else a


def cyclic_places(shard: int, tile: int, ranks: int) -> np.ndarray:
    """Return the index in the cyclic layout of every row of the block layout."""
    rank, offset = np.divmod(np.arange(shard * ranks), shard)
    full = shard // tile
    dealt = rank * full + offset // tile
    places = (dealt % ranks) * shard + (dealt // ranks) * tile + offset % tile
    return np.where(offset < full * tile, places, rank * shard + offset)


def get_cols_cyclic(N, N_batch, T_A, num_devices):
    """Return (global column, index in the padded block layout, index in the padded cyclic layout).

    Parameters
    ----------
    N : int
        Number of columns of the matrix.
    N_batch : int
        Columns of a padded shard. The cyclic layout holds the padding at its end.
    T_A : int
        Tile size.
    num_devices : int
        Number of shards.

    Returns
    -------
    list of (int, int, int)
        One entry for each of the N columns.

    Examples
    --------
    >>> get_cols_cyclic(4, 2, 1, 2)
    [(0, 0, 0), (1, 1, 2), (2, 2, 1), (3, 3, 3)]
    """
    T_A = positive_int(T_A, "T_A")
    shard = -(-N // num_devices)
    if N_batch < shard:
        raise ValueError(f"N_batch must be at least N / num_devices = {shard}, got {N_batch}")
    places = cyclic_places(N_batch, T_A, num_devices)
    return [
        (column, column // shard * N_batch + column % shard, int(places[column]))
        for column in range(N)
    ]


def verify_cyclic(A, A_cyclic, T_A):
    """Check that `A_cyclic` is the row-cyclic layout of `A`, as `cyclic_1d` makes it.

    Parameters
    ----------
    A : (N, M) array
        The matrix.
    A_cyclic : array
        Its cyclic layout, sharded over rows; padding rows must be zero.
    T_A : int
        Tile size.

    Raises
    ------
    AssertionError
        If `A_cyclic` differs from that layout.
    """
    rows = A_cyclic.shape[0]
    ranks = _row_shards(A_cyclic)
    expected = np.zeros(A_cyclic.shape, A_cyclic.dtype)
    places = cyclic_places(rows // ranks, positive_int(T_A, "T_A"), ranks)
    expected[places[: A.shape[0]]] = np.asarray(A)
    wrong = np.flatnonzero((expected != np.asarray(A_cyclic)).any(axis=1))
    if wrong.size:
        raise AssertionError(
            f"A_cyclic is not the cyclic layout of A for T_A={T_A} on {ranks} devices: "
            f"rows {wrong[:8].tolist()} differ"
        )


def plot_block_to_cyclic(N, T_A, ndev, N_rows=8):
    """Draw which device holds which columns before and after `cyclic_1d`.

    Uses Matplotlib if it is installed, otherwise prints the two layouts as text.

    Parameters
    ----------
    N, T_A, ndev : int
        Columns of the matrix, tile size, number of devices.
    N_rows : int
        Rows to draw of the matrix.

    Returns
    -------
    matplotlib.figure.Figure or None
        None if the layouts were printed.
    """
    shard = -(-N // ndev)
    N_batch = shard + calculate_padding(shard, T_A)
    block, cyclic = np.full((2, ndev * N_batch), -1)
    for column, before, after in get_cols_cyclic(N, N_batch, T_A, ndev):
        block[before] = cyclic[after] = column
    layouts = {"block": block, f"cyclic, T_A={T_A}": cyclic}
    try:
        from matplotlib import pyplot
    except ImportError:
        for title, columns in layouts.items():
            print(f"{title}:")
            for rank, held in enumerate(columns.reshape(ndev, N_batch)):
                print(f"  device {rank}:", " ".join("." if c < 0 else str(c) for c in held))
        return None
    figure, axes = pyplot.subplots(2, 1, figsize=(10, 4), layout="constrained")
    for ax, (title, columns) in zip(axes, layouts.items(), strict=True):
        owner = np.ma.masked_less(np.where(columns < 0, -1, columns // shard), 0)
        ax.imshow(np.tile(owner, (N_rows, 1)), aspect="auto", cmap="tab10", vmin=0, vmax=9)
        for rank in range(1, ndev):
            ax.axvline(rank * N_batch - 0.5, color="black")
        ax.set(title=f"{title}: colour = device at the start, lines = devices", yticks=[])
    return figure


def _row_shards(array) -> int:
    """Return the number of devices over which the rows of an array are sharded."""
    if isinstance(array, jax.Array) and isinstance(array.sharding, NamedSharding):
        return array.shape[0] // array.sharding.shard_shape(array.shape)[0]
    return jax.device_count()
