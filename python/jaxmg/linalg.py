"""Dense linear algebra on sharded arrays, under the names of ``jax.numpy.linalg``."""

from jaxmg._linalg.cholesky import (
    cho_factor,
    cho_factor_shifted,
    cho_solve,
    cholesky,
    inv,
    logdet,
    slogdet,
    solve,
    solve_triangular,
)
from jaxmg._linalg.eigen import EighResult, eigh, eigvalsh, pinvh, sqrtm_h
from jaxmg._linalg.factors import CholeskyFactor, SlogdetResult

__all__ = [
    "CholeskyFactor",
    "EighResult",
    "SlogdetResult",
    "cho_factor",
    "cho_factor_shifted",
    "cho_solve",
    "cholesky",
    "eigh",
    "eigvalsh",
    "inv",
    "logdet",
    "pinvh",
    "slogdet",
    "solve",
    "solve_triangular",
    "sqrtm_h",
]

# The public module, in pickles and help().
for _name in __all__:
    globals()[_name].__module__ = __name__
