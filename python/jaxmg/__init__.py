"""Multi-device dense linear algebra for JAX.

`jaxmg.linalg` follows ``jax.numpy.linalg``, for arrays sharded over a mesh; `jaxmg.plan` estimates
the memory and the time of a call. The other names are the API of JAXMg 0.0.x and 1.4.
"""

from jaxmg import linalg, utils
from jaxmg._config import config
from jaxmg._native import cuda, loading
from jaxmg._planning.backends import Backend, backends
from jaxmg._version import __version__ as __version__
from jaxmg.compat import (
    calculate_padding,
    cyclic_1d,
    gesvd,
    get_cols_cyclic,
    least_squares,
    lu_solve,
    pad_rows,
    plot_block_to_cyclic,
    polar,
    potri,
    potri_shardmap_ctx,
    potri_symmetrize,
    potrs,
    potrs_shardmap_ctx,
    qr,
    syevd,
    syevd_shardmap_ctx,
    unpad_rows,
    verify_cyclic,
)
from jaxmg.plan import Plan, plan
from jaxmg.utils import JaxMgWarning, get_mesh_and_spec_from_array, random_psd

__all__ = [
    "Backend",
    "JaxMgWarning",
    "Plan",
    "backends",
    "calculate_padding",
    "config",
    "cyclic_1d",
    "gesvd",
    "get_cols_cyclic",
    "get_mesh_and_spec_from_array",
    "linalg",
    "least_squares",
    "lu_solve",
    "pad_rows",
    "plan",
    "plot_block_to_cyclic",
    "polar",
    "potri",
    "potri_shardmap_ctx",
    "potri_symmetrize",
    "potrs",
    "potrs_shardmap_ctx",
    "qr",
    "random_psd",
    "syevd",
    "syevd_shardmap_ctx",
    "unpad_rows",
    "utils",
    "verify_cyclic",
]

loading.register_handlers()
cuda.warn_if_gpu_is_unusable()
