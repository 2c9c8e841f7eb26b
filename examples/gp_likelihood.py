"""Fit a Gaussian process; kernel matrix, factor and gradients stay sharded over the devices."""

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


def negative_log_likelihood(theta, x, y):
    """Likelihood of y with covariance scale^2 exp(-|x - x'|^2 / (2 length^2)) + noise^2 I."""
    length, scale, noise = jnp.exp(theta)
    distance = (x[:, None] - x[None, :]) / length
    kernel = scale**2 * jnp.exp(-(distance**2) / 2) + noise**2 * jnp.eye(n)
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
print(f"length {length:.2f}, scale {scale:.2f}, noise {noise:.2f} (made with 0.30)")
