"""Test matrices in JAX, created on the devices, and residuals of results.

A[i, j] = f(i - j) exp(0.1i (i - j)), without the phase in real types; no host ever holds it. With
f = `kernel`, A is a smooth kernel with some noise, Hermitian positive definite. Nearly all of its
eigenvalues are equal, which saves divide and conquer most of its work. Eigensolvers therefore use
f = `chirp`, with eigenvalues spaced as in a random matrix, or for eigenvalues alone
f = `wrapped_chirp(n)`, with known eigenvalues. LU uses f = `noise`, a dense Toeplitz matrix that
requires pivoting. benchmarks/peers/test_system.h creates the same matrices.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

LENGTH_SCALE = 50.0
NOISE = 0.01
PHASE = 0.1
BAND = 700
PROBES = 4  # number of random columns by which a result is checked


def kernel(distance):
    return jnp.exp(-((distance / LENGTH_SCALE) ** 2)) + jnp.where(distance == 0, NOISE, 0.0)


def chirp(distance):
    return jnp.where(jnp.abs(distance) <= BAND, jnp.cos(distance**2), 0.0)


def noise(distance):
    """Return numbers in [-1, 1) that look random."""
    x = jnp.sin(distance * 12.9898 + 1) * 43758.5453
    return 2 * (x - jnp.floor(x)) - 1


def wrapped_chirp(n: int):
    """Return a chirp with its ends joined, f(n - d) = f(d): A is similar to a circulant matrix."""

    def wrapped(distance):
        return chirp(jnp.minimum(jnp.abs(distance), n - jnp.abs(distance)))

    return wrapped


def make_matrix(n: int, dtype: str, sharding, diagonals=kernel, columns: int | None = None):
    """Return A, or its first `columns` columns."""

    def matrix():
        distance = jnp.arange(n, dtype=np.float64)
        distance = distance[:, None] - distance[None, :columns]
        a = diagonals(distance)
        if np.issubdtype(dtype, np.complexfloating):
            a = a * jax.lax.complex(jnp.cos(PHASE * distance), jnp.sin(PHASE * distance))
        return a.astype(dtype)

    return jax.jit(matrix, out_shardings=sharding)()


@jax.jit
def graded(a):
    """Return A with columns scaled from 1 to 1e-8, which has a condition of about 1e8 or more."""
    n = a.shape[1]
    return a * 10.0 ** (-8 * jnp.arange(n, dtype=a.real.dtype) / n)


def make_right_hand_sides(n: int, nrhs: int, dtype: str, sharding):
    def values():
        return jax.random.normal(jax.random.key(0), (n, nrhs), dtype)

    return jax.jit(values, out_shardings=sharding)()


def norm_of_matrix(n: int) -> float:
    """Return (an upper bound, sharp for large n, of) the 2-norm of the kernel matrix."""
    return NOISE + min(LENGTH_SCALE * math.sqrt(math.pi), n)


def norm_of_noise(n: int) -> float:
    """Return (about) |A|_F / sqrt(columns) of n rows of noise, a lower bound of the 2-norm."""
    return math.sqrt(n / 3)


@jax.jit
def product(a, b):
    return jnp.matmul(a, b, precision="highest")


def relative_residual(a, x, b, norm=norm_of_matrix) -> float:
    """Return |A x - b| / (|A| |x|) in the (matrix) 2-norm and Frobenius' for x and b."""

    @jax.jit
    def norms(a, x, b):
        r = product(a, x) - b
        return jnp.linalg.norm(r), jnp.linalg.norm(x)

    residual, solution = norms(a, x, b)
    return float(residual) / (norm(a.shape[0]) * float(solution))


def eigen_errors(a, values, v, b) -> tuple[float, float]:
    """Return |A V b - V Λ b| / (|A| |b|) and |V^H V b - b| / |b|, |A| being the largest |λ|."""

    @jax.jit
    def norms(a, values, v, b):
        x = product(v, b)
        residual = product(a, x) - product(v, values[:, None] * b)
        lost = product(v.conj().T, x) - b
        norm = jnp.max(jnp.abs(values))
        return jnp.linalg.norm(residual) / norm, jnp.linalg.norm(lost), jnp.linalg.norm(b)

    residual, lost, scale = map(float, norms(a, values, v, b))
    return residual / scale, lost / scale


def svd_errors(a, u, s, vh, b) -> tuple[float, float]:
    """Return |A b - U S V^H b| / (|A|_F |b|) and |U^H U b - b| / |b|."""

    @jax.jit
    def norms(a, u, s, vh, b):
        residual = product(a, b) - product(u, s[:, None] * product(vh, b))
        lost = product(u.conj().T, product(u, b)) - b
        return jnp.linalg.norm(residual) / jnp.linalg.norm(a), jnp.linalg.norm(lost)

    residual, lost = map(float, norms(a, u, s, vh, b))
    scale = float(jnp.linalg.norm(b))
    return residual / scale, lost / scale


def error_of_norm(a, s) -> float:
    """Return the relative difference of |s| and |A|_F, which are equal for exact values."""
    exact = float(jnp.linalg.norm(a))
    return abs(float(jnp.linalg.norm(s)) - exact) / exact


def factor_errors(a, q, r, b) -> tuple[float, float]:
    """Return |Q R b - A b| / (|A| |b|), |A| being the norm of noise, and |Q^H Q b - b| / |b|."""

    @jax.jit
    def norms(a, q, r, b):
        residual = product(q, product(r, b)) - product(a, b)
        lost = product(q.conj().T, product(q, b)) - b
        return jnp.linalg.norm(residual), jnp.linalg.norm(lost), jnp.linalg.norm(b)

    residual, lost, scale = map(float, norms(a, q, r, b))
    return residual / (norm_of_noise(len(a)) * scale), lost / scale


def norm_difference(a, r, b) -> float:
    """Return the difference of |R b| and |A b| / (|A| |b|), |A| being the norm of noise."""

    @jax.jit
    def norms(a, r, b):
        difference = jnp.linalg.norm(product(r, b), axis=0) - jnp.linalg.norm(product(a, b), axis=0)
        return jnp.linalg.norm(difference), jnp.linalg.norm(b)

    difference, scale = map(float, norms(a, r, b))
    return difference / (norm_of_noise(len(a)) * scale)


def eigenvalue_error(values) -> float:
    """Return |λ - λ'| over the largest |λ|, in the maximum norm, for the wrapped chirp.

    Its eigenvalues λ' are the discrete Fourier transform of its first column.
    """
    n = len(values)
    distance = np.arange(n)
    distance = np.minimum(distance, n - distance).astype(np.float64)
    exact = np.sort(np.fft.fft(np.where(distance <= BAND, np.cos(distance**2), 0.0)).real)
    return float(np.max(np.abs(np.asarray(values) - exact)) / np.max(np.abs(exact)))
