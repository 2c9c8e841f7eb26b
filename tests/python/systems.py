"""Test matrices, their placement, and checks of residuals with bounds of n eps."""

import re

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

ROWS = P("x", None)
DTYPES = ("float32", "float64", "complex64", "complex128")
# Every number of ranks and every dtype; the C++ tests cover all combinations.
RANKS_AND_DTYPES = [
    (1, "float64"),
    (2, "complex64"),
    (3, "complex128"),
    (4, "float32"),
    (8, "complex128"),
]

# jax.set_mesh is the name since JAX 0.7.
set_mesh = getattr(jax, "set_mesh", None) or jax.sharding.use_mesh


def pairwise(values):
    """Return triples (value, axis type, in jit): all pairs, in half of all combinations."""
    return [
        (value, axis_type, (i + j) % 2 == 0)
        for i, value in enumerate(values)
        for j, axis_type in enumerate(("Auto", "Explicit"))
    ]


def gaussian(shape, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape)
    if np.issubdtype(dtype, np.complexfloating):
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


def positive_definite(n, dtype="float64", seed=0):
    g = gaussian((n, n), dtype, seed)
    return (g @ g.conj().T / max(n, 1) + np.eye(n)).astype(dtype)


def spelled(text):
    """Return a pattern that matches a text literally; newer JAX prints PartitionSpec as P."""
    return re.escape(text).replace("PartitionSpec\\(None", r"(PartitionSpec|P)\(None")


def put(array, mesh, *spec):
    """Put an array on a mesh; replicated if its shape does not divide evenly by the spec."""
    sharding = NamedSharding(mesh, P(*spec))
    try:
        sharding.shard_shape(array.shape)
    except ValueError:
        sharding = NamedSharding(mesh, P())
    return jax.device_put(array, sharding)


def assert_solves(a, x, b):
    """Check ||A x - b|| <= c n eps ||A|| ||x|| for every column: x is backward stable.

    The largest norm of a column of A stands for ||A||, which is not below it.
    """
    a, x, b = (np.asarray(array) for array in (a, x, b))
    assert x.dtype == b.dtype
    x, b = x.reshape(len(a), -1), b.reshape(len(a), -1)
    wide = np.result_type(a.dtype, np.float64)
    residual = np.linalg.norm(a.astype(wide) @ x - b, axis=0)
    norm = np.linalg.norm(a, axis=0).max(initial=0)
    bound = 10 * len(a) * np.finfo(a.dtype).eps * norm * np.linalg.norm(x, axis=0)
    assert (residual <= bound).all(), f"residuals {residual} exceed {bound}"


def assert_factor(a, triangle):
    """Check that L is lower triangular, and ||A - L L^H|| <= c n eps ||A||."""
    a, wide = np.asarray(a), np.result_type(a, np.float64)
    assert triangle.dtype == a.dtype
    np.testing.assert_array_equal(triangle, np.tril(triangle))
    assert (np.diag(triangle).real > 0).all()
    triangle = triangle.astype(wide)
    residual = np.linalg.norm(a - triangle @ triangle.conj().T)
    assert residual <= 10 * len(a) * np.finfo(a.dtype).eps * np.linalg.norm(a)


def assert_inverse(a, x):
    """Check ||A X - I|| <= c n eps cond(A), and that X is Hermitian."""
    a, x = np.asarray(a), np.asarray(x)
    wide = np.result_type(a, np.float64)
    assert x.dtype == a.dtype
    residual = np.linalg.norm(a.astype(wide) @ x - np.eye(len(a)))
    norms = np.linalg.norm(a) * np.linalg.norm(np.linalg.inv(a.astype(wide)))
    assert residual <= 10 * len(a) * np.finfo(a.dtype).eps * norms
    np.testing.assert_array_equal(x, x.conj().T)


def hermitian(n, dtype="float64", seed=0):
    g = gaussian((n, n), dtype, seed)
    return (g + g.conj().T) / 2


def assert_eigen(a, w, v, b=None):
    """Check eigenvalues and eigenvectors with LAPACK's test ratios, which must be below 30.

    ||A V - B V W|| <= 30 n eps ||A|| ||V||, ||V^H B V - I|| <= 30 n eps, both times cond(B).
    """
    a, w, v = (np.asarray(array) for array in (a, w, v))
    assert v.dtype == a.dtype and w.dtype == np.finfo(a.dtype).dtype
    assert (np.diff(w) >= 0).all()
    wide = np.result_type(a, np.float64)
    b = np.eye(len(a)) if b is None else np.asarray(b).astype(wide)
    bound = 30 * len(a) * np.finfo(a.dtype).eps * np.linalg.cond(b)
    a, v = a.astype(wide), v.astype(wide)
    residual = np.linalg.norm(a @ v - b @ v * w, 2)
    assert residual <= bound * np.linalg.norm(a, 2) * np.linalg.norm(v, 2)
    assert np.linalg.norm(v.conj().T @ b @ v - np.eye(v.shape[1]), 2) <= bound


def assert_eigenvalues(a, w, part=slice(None)):
    """Check |w - w_LAPACK| <= c n eps ||A|| for the eigenvalues in `part` of the spectrum."""
    a = np.asarray(a)
    known = np.linalg.eigvalsh(a.astype(np.result_type(a, np.float64)))
    assert w.dtype == np.finfo(a.dtype).dtype
    error = np.abs(np.asarray(w) - known[part])
    assert (error <= 30 * len(a) * np.finfo(a.dtype).eps * np.abs(known).max()).all()
