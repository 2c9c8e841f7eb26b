"""The test system in JAX, made on the devices: no host ever holds the matrix.

A[i, j] = exp(-((i - j) / 50)^2) exp(0.1i (i - j)) + 0.01 [i = j], without the phase in real types:
a smooth kernel with some noise, Hermitian positive definite. peers/test_system.h makes the same.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

LENGTH_SCALE = 50.0
NOISE = 0.01
PHASE = 0.1


def make_matrix(n: int, dtype: str, sharding):
    def matrix():
        distance = jnp.arange(n, dtype=np.float64)
        distance = distance[:, None] - distance[None, :]
        a = jnp.exp(-((distance / LENGTH_SCALE) ** 2))
        if np.issubdtype(dtype, np.complexfloating):
            a = a * jax.lax.complex(jnp.cos(PHASE * distance), jnp.sin(PHASE * distance))
        return (a + jnp.where(distance == 0, NOISE, 0.0)).astype(dtype)

    return jax.jit(matrix, out_shardings=sharding)()


def make_right_hand_sides(n: int, nrhs: int, dtype: str, sharding):
    def values():
        return jax.random.normal(jax.random.key(0), (n, nrhs), dtype)

    return jax.jit(values, out_shardings=sharding)()


def norm_of_matrix(n: int) -> float:
    """Return (an upper bound, sharp for large n, of) the 2-norm of the test matrix."""
    return NOISE + min(LENGTH_SCALE * math.sqrt(math.pi), n)


def relative_residual(a, x, b) -> float:
    """Return |A x - b| / (|A| |x|) in the (matrix) 2-norm and Frobenius' for x and b."""

    @jax.jit
    def norms(a, x, b):
        r = jnp.matmul(a, x, precision="highest") - b
        return jnp.linalg.norm(r), jnp.linalg.norm(x)

    residual, solution = norms(a, x, b)
    return float(residual) / (norm_of_matrix(a.shape[0]) * float(solution))
