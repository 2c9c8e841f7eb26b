"""Compatibility API of JAXMg 0.0.x and 1.4, for existing code.

`potrs`, `potri`, `syevd` and `cyclic_1d` return the results of 0.0.x; `lu_solve`, `qr`,
`least_squares`, `gesvd` and `polar` the results of 1.4. The ``*_shardmap_ctx`` functions have two
modes: inside the caller's ``shard_map`` they work on local shards, as in 0.0.x; elsewhere on global
arrays, as in 1.4.

New code should use `jaxmg.linalg`.
"""

from jaxmg.compat.cholesky import (
    potri,
    potri_shardmap_ctx,
    potri_symmetrize,
    potrs,
    potrs_shardmap_ctx,
)
from jaxmg.compat.cyclic import cyclic_1d
from jaxmg.compat.eigen import syevd, syevd_shardmap_ctx
from jaxmg.compat.layout import (
    calculate_padding,
    get_cols_cyclic,
    pad_rows,
    plot_block_to_cyclic,
    unpad_rows,
    verify_cyclic,
)
from jaxmg.compat.lu import lu_solve
from jaxmg.compat.qr import least_squares, qr
from jaxmg.compat.svd import gesvd, polar

__all__ = [
    "calculate_padding",
    "cyclic_1d",
    "gesvd",
    "get_cols_cyclic",
    "least_squares",
    "lu_solve",
    "pad_rows",
    "plot_block_to_cyclic",
    "polar",
    "potri",
    "potri_shardmap_ctx",
    "potri_symmetrize",
    "potrs",
    "potrs_shardmap_ctx",
    "qr",
    "syevd",
    "syevd_shardmap_ctx",
    "unpad_rows",
    "verify_cyclic",
]
