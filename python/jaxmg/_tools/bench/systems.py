"""Dense test matrices of pseudo-random numbers in JAX, created on the devices, and residuals.

A[i, j] = f(i - j) exp(0.1i (i - j)), without the phase in real types; no host ever holds it. With
f = `noise`, A is a dense general matrix that requires pivoting. Eigensolvers use f =
`hermitian_noise`, and Cholesky f = `positive_noise(n)`, the same with a diagonal that makes it
positive definite. benchmarks/peers/test_system.h creates the same matrices.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

PHASE = 0.1
PROBES = 4  # number of random columns by which a result is checked


def noise(distance):
    """Return numbers in [-1, 1) that look random."""
    x = jnp.sin(distance * 12.9898 + 1) * 43758.5453
    return 2 * (x - jnp.floor(x)) - 1


def hermitian_noise(distance):
    return noise(jnp.abs(distance))


@functools.cache
def positive_noise(n: int):
    """Return Hermitian noise with the diagonal `norm_of_positive_noise(n)`.

    The norm of a random Toeplitz matrix grows as sqrt(n log n) (Sen and Virag, 2013). The diagonal
    is above it: the condition is below 20.
    """

    def positive(distance):
        return jnp.where(distance == 0, norm_of_positive_noise(n), hermitian_noise(distance))

    return positive


def make_matrix(n: int, dtype: str, sharding, diagonals=None, columns: int | None = None):
    """Return A, by default with `positive_noise(n)`, or its first `columns` columns."""
    return _maker(n, np.dtype(dtype), sharding, diagonals or positive_noise(n), columns)()


@functools.cache
def _maker(n: int, dtype, sharding, diagonals, columns):
    def matrix():
        distance = jnp.arange(n, dtype=np.float64)
        distance = distance[:, None] - distance[None, :columns]
        a = diagonals(distance)
        if np.issubdtype(dtype, np.complexfloating):
            a = a * jax.lax.complex(jnp.cos(PHASE * distance), jnp.sin(PHASE * distance))
        return a.astype(dtype)

    return jax.jit(matrix, out_shardings=sharding)


@jax.jit
def graded(a):
    """Return A with columns scaled from 1 to 1e-8, which has a condition of about 1e8 or more."""
    n = a.shape[1]
    return a * 10.0 ** (-8 * jnp.arange(n, dtype=a.real.dtype) / n)


def make_right_hand_sides(n: int, nrhs: int, dtype: str, sharding):
    return _right_hand_sides_maker(n, nrhs, np.dtype(dtype), sharding)()


@functools.cache
def _right_hand_sides_maker(n: int, nrhs: int, dtype, sharding):
    def values():
        return jax.random.normal(jax.random.key(0), (n, nrhs), dtype)

    return jax.jit(values, out_shardings=sharding)


def norm_of_positive_noise(n: int) -> float:
    """Return the diagonal of the positive definite matrix, at least half of its 2-norm."""
    return 2 * math.sqrt(n * math.log(n + 1))


def norm_of_noise(n: int) -> float:
    """Return (about) |A|_F / sqrt(columns) of n rows of noise, a lower bound of the 2-norm."""
    return math.sqrt(n / 3)


@jax.jit
def product(a, b):
    return jnp.matmul(a, b, precision="highest")


@jax.jit
def _relative_residual(a, x, b):
    r = product(a, x) - b
    return jnp.linalg.norm(r), jnp.linalg.norm(x)


def relative_residual(a, x, b, norm=norm_of_positive_noise) -> float:
    """Return |A x - b| / (|A| |x|) in the (matrix) 2-norm and Frobenius' for x and b."""
    residual, solution = _relative_residual(a, x, b)
    return float(residual) / (norm(a.shape[0]) * float(solution))


@jax.jit
def _eigen_errors(a, values, v, b):
    x = product(v, b)
    residual = product(a, x) - product(v, values[:, None] * b)
    lost = product(v.conj().T, x) - b
    norm = jnp.max(jnp.abs(values))
    return jnp.linalg.norm(residual) / norm, jnp.linalg.norm(lost), jnp.linalg.norm(b)


def eigen_errors(a, values, v, b) -> tuple[float, float]:
    """Return |A V b - V Λ b| / (|A| |b|) and |V^H V b - b| / |b|, |A| being the largest |λ|."""
    residual, lost, scale = map(float, _eigen_errors(a, values, v, b))
    return residual / scale, lost / scale


@jax.jit
def _svd_errors(a, u, s, vh, b):
    residual = product(a, b) - product(u, s[:, None] * product(vh, b))
    lost = product(u.conj().T, product(u, b)) - b
    return jnp.linalg.norm(residual) / jnp.linalg.norm(a), jnp.linalg.norm(lost)


def svd_errors(a, u, s, vh, b) -> tuple[float, float]:
    """Return |A b - U S V^H b| / (|A|_F |b|) and |U^H U b - b| / |b|."""
    residual, lost = map(float, _svd_errors(a, u, s, vh, b))
    scale = float(jnp.linalg.norm(b))
    return residual / scale, lost / scale


def error_of_norm(a, s) -> float:
    """Return the relative difference of |s| and |A|_F, which are equal for exact values."""
    exact = float(jnp.linalg.norm(a))
    return abs(float(jnp.linalg.norm(s)) - exact) / exact


@jax.jit
def _factor_errors(a, q, r, b):
    residual = product(q, product(r, b)) - product(a, b)
    lost = product(q.conj().T, product(q, b)) - b
    return jnp.linalg.norm(residual), jnp.linalg.norm(lost), jnp.linalg.norm(b)


def factor_errors(a, q, r, b) -> tuple[float, float]:
    """Return |Q R b - A b| / (|A| |b|), |A| being the norm of noise, and |Q^H Q b - b| / |b|."""
    residual, lost, scale = map(float, _factor_errors(a, q, r, b))
    return residual / (norm_of_noise(len(a)) * scale), lost / scale


@jax.jit
def _norm_difference(a, r, b):
    difference = jnp.linalg.norm(product(r, b), axis=0) - jnp.linalg.norm(product(a, b), axis=0)
    return jnp.linalg.norm(difference), jnp.linalg.norm(b)


def norm_difference(a, r, b) -> float:
    """Return the difference of |R b| and |A b| / (|A| |b|), |A| being the norm of noise."""
    difference, scale = map(float, _norm_difference(a, r, b))
    return difference / (norm_of_noise(len(a)) * scale)


def eigenvalue_error(values) -> float:
    """Return the error of sum and 2-norm of the eigenvalues of Hermitian noise over |A|_F.

    They are the trace of A and its Frobenius norm.
    """
    values = np.asarray(values, np.float64)
    n = len(values)
    distance = np.arange(n)
    elements = np.asarray(jax.jit(hermitian_noise)(distance.astype(np.float64)))
    counts = np.where(distance == 0, n, 2 * (n - distance))
    norm = math.sqrt(float(np.sum(counts * elements**2)))
    trace = n * float(elements[0])
    errors = abs(float(np.linalg.norm(values)) - norm), abs(float(np.sum(values)) - trace)
    return max(errors) / norm
