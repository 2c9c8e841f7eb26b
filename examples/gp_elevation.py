"""A Gaussian process for real data: evidence and its gradient, prediction, and samples.

The data are elevations around the Jacksboro fault in Tennessee, which Matplotlib ships. A Gaussian
process is fitted to some of them, exactly: its hyperparameters maximise the marginal likelihood,
whose gradient passes through the Cholesky factor of the covariance. The covariance matrix, the
factor and the gradient of both stay sharded over the devices.
"""

import os

import jax

jax.config.update("jax_num_cpu_devices", 4)  # without a GPU
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from matplotlib import cbook

import jaxmg

N, HELD_OUT, STEPS = 512, 200, 40

mesh = jax.make_mesh((len(jax.devices()),), ("x",), axis_types=(AxisType.Auto,))
rows, everywhere = NamedSharding(mesh, P("x", None)), NamedSharding(mesh, P())

elevation = np.load(cbook.get_sample_data("jacksboro_fault_dem.npz", asfileobj=False))["elevation"]
chosen = np.random.default_rng(0).choice(elevation.size, N + HELD_OUT, replace=False)
places = np.stack(np.divmod(chosen, elevation.shape[1]), axis=1) / 100.0
mean, scale = elevation.mean(), elevation.std()
heights = (elevation.ravel()[chosen] - mean) / scale
x, x_new = (jax.device_put(part, everywhere) for part in np.split(places, [N]))
y, y_new = (jax.device_put(part, everywhere) for part in np.split(heights, [N]))


def kernel(theta, x, z):
    """Matern's kernel of smoothness 3/2."""
    length, amplitude = jnp.exp(theta[:2])
    squares = jnp.sum((x[:, None, :] - z[None, :, :]) ** 2, axis=-1)
    r = jnp.sqrt(3 * squares + 1e-12) / length
    return amplitude**2 * (1 + r) * jnp.exp(-r)


def covariance(theta, x):
    noisy = kernel(theta, x, x) + jnp.exp(2 * theta[2]) * jnp.eye(len(x))
    return jax.lax.with_sharding_constraint(noisy, rows)


def loss(theta):
    """The negative logarithm of the marginal likelihood, per observation."""
    factor = jaxmg.linalg.cho_factor(covariance(theta, x))
    fit = y @ jaxmg.linalg.cho_solve(factor, y)
    return (fit + jaxmg.linalg.logdet(factor) + N * jnp.log(2 * jnp.pi)) / (2 * N)


@jax.jit
def step(theta, momentum):
    value, gradient = jax.value_and_grad(loss)(theta)
    momentum = 0.8 * momentum + gradient
    return theta - 0.1 * momentum, momentum, value


@jax.jit
def predicted(theta, x_new):
    """Return the mean and the covariance of the heights at other places."""
    factor = jaxmg.linalg.cho_factor(covariance(theta, x))
    cross = kernel(theta, x, x_new)
    mean = cross.T @ jaxmg.linalg.cho_solve(factor, y)
    half = jaxmg.linalg.solve_triangular(factor, cross)  # L^-1 K
    return mean, kernel(theta, x_new, x_new) - half.T @ half


theta = momentum = jnp.zeros(3)
theta = theta.at[2].set(-1.0)
for i in range(STEPS):
    theta, momentum, value = step(theta, momentum)
    if i % 10 == 0:
        print(f"step {i:2d}: {value:.4f}")
length, amplitude, noise = jnp.exp(theta)
print(f"length {length:.2f} (of {elevation.shape[1] / 100:.2f}), noise {noise * scale:.0f} m")

# The evidence as one device computes it; its gradient by differences.
lower = jnp.linalg.cholesky(np.asarray(covariance(theta, x)))
white = jax.scipy.linalg.solve_triangular(lower, np.asarray(y), lower=True)
known = (white @ white + 2 * jnp.sum(jnp.log(jnp.diag(lower))) + N * jnp.log(2 * jnp.pi)) / (2 * N)
assert abs(loss(theta) - known) < 1e-9
evidence, h = jax.jit(loss), 1e-4
differences = [
    (evidence(theta.at[i].add(h)) - evidence(theta.at[i].add(-h))) / (2 * h) for i in range(3)
]
np.testing.assert_allclose(jax.jit(jax.grad(loss))(theta), differences, atol=1e-6)

fit, spread = predicted(theta, x_new)
error = float(jnp.sqrt(jnp.mean((fit - y_new) ** 2)))
deviation = jnp.sqrt(jnp.diag(spread) + noise**2)
covered = float(jnp.mean(abs(fit - y_new) < 2 * deviation))

# A sample of the heights at the new places: mean + L z, L L^T being their covariance.
jitter = jax.device_put(
    spread + 1e-8 * jnp.eye(HELD_OUT), rows if HELD_OUT % mesh.size == 0 else everywhere
)
sample = fit + jaxmg.linalg.cholesky(jitter) @ jax.random.normal(jax.random.key(0), (HELD_OUT,))
assert bool(jnp.isfinite(sample).all())
assert error < 0.6 and 0.9 < covered < 1
print(
    f"error at {HELD_OUT} other places: {error * scale:.0f} of {scale:.0f} m; {covered:.0%} covered"
)

if path := os.environ.get("JAXMG_EXAMPLE_PICTURE"):
    from matplotlib import pyplot as plt

    stride = 6
    picture = elevation[::stride, ::stride]
    grid = np.stack(
        np.meshgrid(*(np.arange(0, size, stride) for size in elevation.shape), indexing="ij"), -1
    )
    drawn = np.asarray(predicted(theta, jnp.asarray(grid.reshape(-1, 2) / 100.0))[0]).reshape(
        picture.shape
    )
    figure, panels = plt.subplots(1, 2, figsize=(8, 4), layout="constrained")
    limits = dict(
        vmin=elevation.min(), vmax=elevation.max(), cmap="terrain", extent=(0, 4.03, 3.44, 0)
    )
    panels[0].imshow(picture, **limits)
    panels[0].set_title("elevation")
    image = panels[1].imshow(mean + scale * drawn, **limits)
    panels[1].plot(*places[:N].T[::-1], "k.", markersize=1)
    panels[1].set_title(f"Gaussian process, from {N} points")
    figure.colorbar(image, ax=panels, label="m")
    figure.savefig(path, dpi=130)
