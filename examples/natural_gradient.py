"""Fit a network by natural gradients: a smooth pseudo-inverse of a singular matrix.

The metric J^T J has fewer large eigenvalues than the network has parameters. Eigenvalues at the
noise level are damped smoothly, in the basis of all eigenvectors, instead of being cut off at a
threshold.
"""

import os

import jax

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec as P

import jaxmg

mesh = jax.make_mesh((len(jax.devices()),), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
hidden = 8 * len(jax.devices())
samples = 32 * len(jax.devices())

# Samples are sharded; the 3 * hidden parameters are replicated.
x = jax.device_put(jnp.linspace(-2.0, 2.0, samples), NamedSharding(mesh, P("x")))
y = jnp.sin(3 * x) * jnp.exp(-(x**2) / 2)


def model(theta, x):
    weights, biases, amplitudes = theta.reshape(3, hidden)
    return amplitudes @ jnp.tanh(weights * x + biases) / hidden**0.5


def smooth_inverse(w, rtol=1e-12, rtol_smooth=1e-9):
    """1 / w for large eigenvalues, damped to 0 for small ones, as in NetKet's pinv_smooth."""
    relative = jnp.abs(w / w[-1])
    kept = relative > rtol
    safe = jnp.where(kept, relative, 1.0)
    return jnp.where(kept, 1 / (w[-1] * safe * (1 + (rtol_smooth / safe) ** 6)), 0.0)


@jax.jit
def step(theta, x, y):
    jacobian = jax.vmap(jax.grad(model), in_axes=(None, 0))(theta, x)
    error = jax.vmap(model, in_axes=(None, 0))(theta, x) - y
    metric = jacobian.T @ jacobian / samples  # fewer large eigenvalues than parameters
    gradient = jacobian.T @ error / samples
    w, v = jaxmg.linalg.eigh(metric)
    direction = v @ (smooth_inverse(w) * (v.T @ gradient))
    return theta - 0.5 * direction, jnp.sqrt(jnp.mean(error**2)), jnp.sum(w > 1e-9 * w[-1])


theta = jax.random.normal(jax.random.key(0), (3 * hidden,))
for i in range(31):
    theta, error, rank = step(theta, x, y)
    if i % 10 == 0:
        print(f"step {i:2d}: {3 * hidden} parameters, rank about {rank}, error {error:.1e}")

if path := os.environ.get("JAXMG_EXAMPLE_PICTURE"):
    from matplotlib import pyplot as plt

    plt.figure(figsize=(6, 4), layout="constrained")
    plt.plot(x, y, "k.", markersize=3, label="values")
    plt.plot(x, jax.vmap(model, in_axes=(None, 0))(theta, x), label="network after 31 steps")
    plt.xlabel("x")
    plt.legend()
    plt.savefig(path, dpi=130)
