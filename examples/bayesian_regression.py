"""Bayesian linear regression: the posterior by least squares and by Cholesky, and the evidence.

A polynomial of high degree is fitted to noisy values. With a normal prior on its coefficients,
their posterior mean solves a least-squares problem whose last rows are the prior (`lstsq`, by QR),
or the normal equations (`cho_factor`), whose factor also gives the posterior covariance and the
evidence. The evidence chooses the prior and the noise.
"""

import os

import jax

jax.config.update("jax_num_cpu_devices", 4)  # without a GPU
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import jaxmg

DEGREES, N, NOISE = 32, 480, 0.2

mesh = jax.make_mesh((len(jax.devices()),), ("x",), axis_types=(AxisType.Auto,))
rows = NamedSharding(mesh, P("x", None))


def features(t):
    """Chebyshev polynomials, scaled so that the prior prefers smooth functions."""
    degree = jnp.arange(DEGREES)
    return jnp.cos(degree * jnp.arccos(t)[:, None]) / (1 + degree)


def truth(t):
    return jnp.sin(5 * t) * jnp.exp(-t)


t = jnp.linspace(-0.99, 0.99, N)
y = truth(t) + NOISE * jax.random.normal(jax.random.key(0), (N,))
design = jax.device_put(features(t), rows if N % mesh.size == 0 else NamedSharding(mesh, P()))


def posterior(theta, design):
    """Return the factor of the posterior precision, and the posterior mean of the coefficients."""
    prior, noise = jnp.exp(theta)
    precision = design.T @ design / noise**2 + jnp.eye(DEGREES) / prior**2
    factor = jaxmg.linalg.cho_factor(precision)
    return factor, jaxmg.linalg.cho_solve(factor, design.T @ y / noise**2)


def loss(theta, design):
    """The negative logarithm of the evidence, per observation."""
    prior, noise = jnp.exp(theta)
    factor, mean = posterior(theta, design)
    fit = jnp.sum((y - design @ mean) ** 2) / noise**2 + mean @ mean / prior**2
    determinants = jaxmg.linalg.logdet(factor) + 2 * N * theta[1] + 2 * DEGREES * theta[0]
    return (fit + determinants + N * jnp.log(2 * jnp.pi)) / (2 * N)


@jax.jit
def newton_step(theta, design):
    """A step of Newton's method with the magnitudes of the curvatures, at most 1 long."""
    gradient, hessian = jax.grad(loss)(theta, design), jax.hessian(loss)(theta, design)
    w, v = jnp.linalg.eigh(hessian)
    step = v @ ((v.T @ gradient) / abs(w))
    return theta - step / jnp.maximum(1, jnp.linalg.norm(step)), loss(theta, design)


theta = jnp.zeros(2)
for i in range(12):
    theta, value = newton_step(theta, design)
    if i % 4 == 0:
        print(f"step {i:2d}: {value:.5f}")
prior, noise = jnp.exp(theta)
factor, mean = posterior(theta, design)
covariance = factor.inv()

# The posterior mean by least squares, with the prior as further observations of 0.
stacked = jnp.concatenate([design / noise, jnp.eye(DEGREES) / prior])
observed = jnp.concatenate([y / noise, jnp.zeros(DEGREES)])
by_qr = jaxmg.linalg.lstsq(jax.device_put(stacked, rows), observed, method="qr")[0]
difference = float(jnp.linalg.norm(by_qr - mean) / jnp.linalg.norm(mean))
print(f"least squares and normal equations differ by {difference:.1e}")
assert difference < 1e-9

# The evidence is the density of y, whose covariance is noise^2 I + prior^2 X X^T.
covariance_of_y = noise**2 * np.eye(N) + prior**2 * np.asarray(design @ design.T)
sign, logarithm = np.linalg.slogdet(covariance_of_y)
known = (y @ np.linalg.solve(covariance_of_y, y) + logarithm + N * np.log(2 * np.pi)) / (2 * N)
assert abs(loss(theta, design) - known) < 1e-9

deviation = jnp.sqrt(jnp.sum((design @ covariance) * design, axis=1))
error = float(jnp.sqrt(jnp.mean((design @ mean - truth(t)) ** 2)))
covered = float(jnp.mean(abs(design @ mean - truth(t)) < 2 * deviation))
assert error < 0.08 and covered > 0.8 and abs(noise - NOISE) < 0.02
print(
    f"noise {noise:.3f} (made with {NOISE}), error of the mean {error:.3f}, {covered:.0%} covered"
)

if path := os.environ.get("JAXMG_EXAMPLE_PICTURE"):
    from matplotlib import pyplot as plt

    fit = design @ mean
    plt.figure(figsize=(6, 4), layout="constrained")
    plt.plot(t, y, ".", color="0.7", label="data")
    plt.fill_between(t, fit - 2 * deviation, fit + 2 * deviation, alpha=0.4, label="2 deviations")
    plt.plot(t, fit, label="posterior mean")
    plt.plot(t, truth(t), "k--", linewidth=1, label="truth")
    plt.legend()
    plt.savefig(path, dpi=130)
