"""`Dealt`: a factor in the layout of the native code."""

import functools
from dataclasses import dataclass

import jax


@functools.partial(jax.tree_util.register_dataclass, data_fields=("data",), meta_fields=("tile",))
@dataclass(frozen=True, eq=False)
class Dealt:
    """A matrix in tile columns dealt to the ranks, or its tangent.

    `data` has the shape of row blocks, (P * ceil(N / P), N), and `tile` is the width of the tile
    columns. In a tangent, `data` is the tangent of A in row blocks.
    """

    data: jax.Array
    tile: int


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=("data", "pivots"), meta_fields=("tile",)
)
@dataclass(frozen=True, eq=False)
class DealtLU:
    """LU factors P A^T = L U, in tile columns like `Dealt`, or their tangent.

    Row i of A^T was interchanged with row pivots[i], for i = 0, 1, ...; pivots are replicated.
    """

    data: jax.Array
    pivots: jax.Array
    tile: int


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=("data", "factors"), meta_fields=("n", "tile")
)
@dataclass(frozen=True, eq=False)
class DealtQR:
    """QR factor of an m x n matrix, in tile columns.

    `data` is (P * ceil(n / P), m): columns of R and of the reflectors as rows. `factors` is
    (P * ceil(n / P), tile): T of the block reflectors I - V T V^H.
    """

    data: jax.Array
    factors: jax.Array
    n: int
    tile: int
