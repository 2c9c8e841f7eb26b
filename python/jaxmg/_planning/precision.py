"""Precisions of factors for refinement."""

from dataclasses import dataclass

import numpy as np

_SINGLE = {"float64": "float32", "complex128": "complex64"}
# The unit roundoff, and the number of the arithmetic of the native code on GPUs.
_ARITHMETIC = {"float32": (2.0**-24, 0), "tf32": (2.0**-11, 1), "fp16x2": (2.0**-22, 2)}


@dataclass(frozen=True)
class Precision:
    """The precision of a factor for refinement: one of `_supported.REFINEMENTS`."""

    name: str

    def dtype_for(self, dtype) -> np.dtype:
        """Return the dtype of the factor of a matrix of `dtype`."""
        return np.dtype(_SINGLE.get(str(np.dtype(dtype)), dtype))

    def factor_options(self, platform: str) -> dict[str, int]:
        """Return further arguments of the factorisation: the arithmetic of products on GPUs.

        CPUs have float32's only, and a vendor's routine has no such argument.
        """
        arithmetic = _ARITHMETIC[self.name][1] if platform == "gpu" else 0
        return {"arithmetic": arithmetic} if arithmetic else {}

    def shifts(self, n: int) -> tuple[float, ...]:
        """Return relative shifts of the diagonal to factor a positive definite matrix with.

        With the last shift, rounding errors of the factorisation do not make a matrix of order n
        indefinite.
        """
        u = _ARITHMETIC[self.name][0]
        return 0.0, 16 * u, 4 * n**0.5 * u
