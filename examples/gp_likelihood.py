"""Fit a Gaussian process; kernel matrix, factor and gradients stay sharded over the devices.

The length, the scale and the noise of a kernel are fitted to noisy values of a sine by gradient
descent. The likelihood is a solve and a determinant with one Cholesky factor, which the gradient
reuses. With JAXMG_EXAMPLE_PICTURE=PATH, the fitted function is drawn (`pip install matplotlib`).
"""

import os

import jax

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec as P

import jaxmg

mesh = jax.make_mesh((len(jax.devices()),), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
n = 64 * len(jax.devices())

# The rows of the kernel matrix are sharded like x.
x = jax.device_put(jnp.linspace(0.0, 10.0, n), NamedSharding(mesh, P("x")))
y = jnp.sin(x) + 0.3 * jax.random.normal(jax.random.key(0), (n,))


def covariance(theta, x, z):
    """Covariance scale^2 exp(-|x - z|^2 / (2 length^2)) of function values."""
    length, scale, _ = jnp.exp(theta)
    return scale**2 * jnp.exp(-(((x[:, None] - z[None, :]) / length) ** 2) / 2)


def negative_log_likelihood(theta, x, y):
    kernel = covariance(theta, x, x) + jnp.exp(theta[2]) ** 2 * jnp.eye(n)
    factor = jaxmg.linalg.cho_factor(kernel)
    fit = y @ jaxmg.linalg.cho_solve(factor, y)
    return (fit + jaxmg.linalg.logdet(factor)) / (2 * n) + jnp.log(2 * jnp.pi) / 2


@jax.jit
def step(theta, x, y):
    value, gradient = jax.value_and_grad(negative_log_likelihood)(theta, x, y)
    return theta - 0.5 * gradient, value


theta = jnp.log(jnp.array([0.5, 0.5, 0.5]))
for i in range(30):
    theta, value = step(theta, x, y)
    if i % 10 == 0:
        print(f"step {i:2d}: {value:.4f}")
length, scale, noise = jnp.exp(theta)

if path := os.environ.get("JAXMG_EXAMPLE_PICTURE"):
    from matplotlib import pyplot

    kernel = covariance(theta, x, x) + noise**2 * jnp.eye(n)
    fitted = covariance(theta, x, x) @ jaxmg.linalg.solve(kernel, y, assume_a="pos")
    figure, axes = pyplot.subplots(figsize=(7, 3.5), layout="constrained")
    axes.plot(x, y, ".", label="data")
    axes.plot(x, fitted, label="Gaussian process")
    axes.plot(x, jnp.sin(x), "--", label="sine")
    axes.legend()
    figure.savefig(path, dpi=130)

print(f"length {length:.2f}, scale {scale:.2f}, noise {noise:.2f} (made with 0.30)")
