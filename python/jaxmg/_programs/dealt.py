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
