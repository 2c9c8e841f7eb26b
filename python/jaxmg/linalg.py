"""Dense linear algebra on sharded arrays, under the names of ``jax.numpy.linalg``."""

from jaxmg._linalg.cholesky import (
    cho_factor,
    cho_factor_shifted,
    cho_solve,
    cholesky,
    logdet,
)
from jaxmg._linalg.eigen import EighResult, eigh, eigvalsh, pinvh, sqrtm_h
from jaxmg._linalg.factors import CholeskyFactor, SlogdetResult
from jaxmg._linalg.least_squares import LstsqResult, lstsq
from jaxmg._linalg.lu import LUFactor, lu_factor, lu_solve
from jaxmg._linalg.polar import PolarResult, polar
from jaxmg._linalg.qr import QRFactor, QRResult, qr, qr_factor
from jaxmg._linalg.refined import RefinedFactor
from jaxmg._linalg.svd import SVDResult, cond, matrix_rank, norm, pinv, svd, svdvals
from jaxmg._linalg.systems import det, inv, slogdet, solve, solve_triangular

__all__ = [
    "CholeskyFactor",
    "EighResult",
    "LUFactor",
    "LstsqResult",
    "PolarResult",
    "QRFactor",
    "QRResult",
    "RefinedFactor",
    "SVDResult",
    "SlogdetResult",
    "cho_factor",
    "cho_factor_shifted",
    "cho_solve",
    "cholesky",
    "cond",
    "det",
    "eigh",
    "eigvalsh",
    "inv",
    "logdet",
    "lstsq",
    "lu_factor",
    "lu_solve",
    "matrix_rank",
    "norm",
    "pinv",
    "pinvh",
    "polar",
    "qr",
    "qr_factor",
    "slogdet",
    "solve",
    "solve_triangular",
    "sqrtm_h",
    "svd",
    "svdvals",
]

# The public module, in pickles and help().
for _name in __all__:
    globals()[_name].__module__ = __name__
