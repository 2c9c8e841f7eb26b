"""A solver for tinygp whose covariance matrix and factor are sharded over the devices.

tinygp builds Gaussian processes from kernels, and takes the class that solves with the covariance
matrix as an argument. With the class below, its likelihoods, conditioned processes and samples, and
their gradients, run on all devices. The results are compared with tinygp's own solver. Requires
`pip install tinygp`.
"""

import os

import jax

jax.config.update("jax_num_cpu_devices", 4)  # without a GPU
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from tinygp import GaussianProcess, kernels, solvers

import jaxmg

mesh = jax.make_mesh((len(jax.devices()),), ("x",), axis_types=(AxisType.Auto,))
rows = NamedSharding(mesh, P("x", None))
N = 256 - 256 % mesh.size


class Sharded(solvers.solver.Solver):
    """tinygp's direct solver, on all devices."""

    X: jax.Array
    variance_value: jax.Array
    covariance_value: jax.Array
    factor: jaxmg.linalg.CholeskyFactor

    def __init__(self, kernel, X, noise, *, covariance=None):
        covariance = kernel(X, X) + noise if covariance is None else covariance
        self.X = X
        self.variance_value = kernel(X) + noise.diagonal()
        if len(X) % mesh.size == 0:
            covariance = jax.lax.with_sharding_constraint(covariance, rows)
        self.covariance_value = covariance
        self.factor = jaxmg.linalg.cho_factor(covariance)

    def variance(self):
        return self.variance_value

    def covariance(self):
        return self.covariance_value

    def normalization(self):
        return (jaxmg.linalg.logdet(self.factor) + len(self.X) * jnp.log(2 * jnp.pi)) / 2

    def solve_triangular(self, y, *, transpose=False):
        return jaxmg.linalg.solve_triangular(self.factor, y, trans=int(transpose))

    def dot_triangular(self, y):
        return jnp.einsum("ij,j...->i...", self.factor.lower(), y)

    def condition(self, kernel, X_test, noise):
        X_test = self.X if X_test is None else X_test
        half = self.solve_triangular(kernel(self.X, X_test))
        return kernel(X_test, X_test) + noise - half.T @ half


def process(theta, x, solver=None):
    """A trend and an oscillation that slowly changes, with noise."""
    length, decay, period, noise = jnp.exp(theta)
    kernel = kernels.ExpSquared(length)
    kernel += 0.5 * kernels.ExpSineSquared(period, gamma=1.0) * kernels.Matern32(decay)
    return GaussianProcess(kernel, x, diag=noise**2, solver=solver)


x = jnp.linspace(0.0, 10.0, N)
noise = 0.2 * jax.random.normal(jax.random.key(0), (N,))
y = jnp.sin(0.5 * x) + 0.5 * jnp.sin(2 * jnp.pi * x) + noise
theta = jnp.log(jnp.array([3.0, 5.0, 1.1, 0.3]))


def loss(theta, solver):
    return -process(theta, x, solver).log_probability(y) / N


@jax.jit
def step(theta):
    value, gradient = jax.value_and_grad(loss)(theta, Sharded)
    return theta - 0.1 * gradient / jnp.maximum(1, jnp.linalg.norm(gradient)), value


for i in range(30):
    theta, value = step(theta)
    if i % 10 == 0:
        print(f"step {i:2d}: {value:.4f}")

makers = (Sharded, solvers.DirectSolver)
found = [jax.jit(jax.value_and_grad(loss), static_argnums=1)(theta, maker) for maker in makers]
values, gradients = zip(*found, strict=True)
np.testing.assert_allclose(*values, rtol=1e-9)
np.testing.assert_allclose(*gradients, rtol=1e-6, atol=1e-8)

x_new = jnp.linspace(0.0, 13.0, 130)
made, known = (process(theta, x, solver).condition(y, x_new).gp for solver in makers)
np.testing.assert_allclose(made.loc, known.loc, atol=1e-8)
np.testing.assert_allclose(made.variance, known.variance, atol=1e-8)
sample = process(theta, x, Sharded).sample(jax.random.key(1))
np.testing.assert_allclose(sample, process(theta, x).sample(jax.random.key(1)), atol=1e-7)
assert values[0] < 0.3
print(
    f"as tinygp's own solver: likelihood {-values[0]:.4f} per point, period {jnp.exp(theta[2]):.3f}"
)

if path := os.environ.get("JAXMG_EXAMPLE_PICTURE"):
    from matplotlib import pyplot as plt

    deviation = jnp.sqrt(made.variance)
    plt.figure(figsize=(7, 3.5), layout="constrained")
    plt.plot(x, y, ".", color="0.6", markersize=3, label="data")
    plt.fill_between(
        x_new, made.loc - 2 * deviation, made.loc + 2 * deviation, alpha=0.3, label="2 deviations"
    )
    plt.plot(x_new, made.loc, label="prediction")
    plt.legend()
    plt.savefig(path, dpi=130)
