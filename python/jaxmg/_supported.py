"""Supported dtypes, platforms and backends."""

import numpy as np

DTYPES = tuple(np.dtype(name) for name in ("float32", "float64", "complex64", "complex128"))
PLATFORMS = ("cpu", "gpu")
# Each backend with the vendor's libraries that its first use loads, by their cuda-pathfinder names.
BACKENDS = {"tiled": (), "cusolvermg": ("cusolverMg",), "cusolvermp": ("cusolverMp",)}
# Precisions of a factor that is refined to the accuracy of the matrix.
REFINEMENTS = ("float32", "tf32", "fp16x2")
