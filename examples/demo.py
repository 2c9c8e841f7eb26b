"""Gaussian-process regression on all devices found: one large kernel system, one call.

    python examples/demo.py [NUMBER_OF_UNKNOWNS]

Noisy values of a function are given at n points of the unit square. Their Gaussian process needs
the solution of K alpha = y, where K is the n x n kernel matrix: dense and symmetric positive
definite. It is created and stored in row shards: no device ever holds the whole matrix.
"""

import os
import sys
import time

import jax

# Without a GPU, use four virtual CPU devices.
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

import jaxmg

LENGTH_SCALE = 0.15
NOISE = 0.05


def kernel(x, z):
    """The squared-exponential kernel between two sets of points."""
    squares = jnp.sum(x**2, 1)[:, None] + jnp.sum(z**2, 1)[None, :] - 2 * x @ z.T
    return jnp.exp(-jnp.maximum(squares, 0) / (2 * LENGTH_SCALE**2))


def truth(x):
    return jnp.sin(7 * x[:, 0]) * jnp.cos(5 * x[:, 1])


def main():
    devices = jax.devices()
    on_gpu = devices[0].platform == "gpu"
    n = int(sys.argv[1]) if len(sys.argv) > 1 else (32768 if on_gpu else 4096)
    n -= n % len(devices)  # JAX requires even shards
    mesh = Mesh(devices, ("x",))
    rows, everywhere = NamedSharding(mesh, P("x", None)), NamedSharding(mesh, P())

    print(f"JAX {jax.__version__}, jaxmg {jaxmg.__version__}")
    print(f"Devices: {len(devices)} x {devices[0].device_kind}")
    plan = jaxmg.plan("potrs", (n, n), "float64", devices)
    print(f"Matrix: {n} x {n} float64, {plan.shard_bytes / 2**20:.0f} MiB per device")
    print(f"Tile size: {plan.tile}")

    place, noise = jax.random.split(jax.random.key(0))
    x = jax.device_put(jax.random.uniform(place, (n, 2)), everywhere)
    y = truth(x) + NOISE * jax.random.normal(noise, (n,))

    covariance = jax.jit(lambda x: kernel(x, x) + NOISE**2 * jnp.eye(n), out_shardings=rows)
    solve = jax.jit(lambda k, y: jaxmg.linalg.solve(k, y, assume_a="pos"))

    k = covariance(x)
    began = time.perf_counter()
    alpha = solve(k, y).block_until_ready()
    print(f"First call (compiles): {time.perf_counter() - began:.3f} s")

    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        alpha = solve(k, y).block_until_ready()
        seconds.append(time.perf_counter() - began)
    flops = n**3 / 3 + 2 * n**2
    print(f"Solve: {min(seconds):.3f} s, {flops / min(seconds) / 1e9:.1f} GFLOP/s")

    # Rounding errors give a residual of a few eps (|K| |alpha| + |y|), for any condition of K.
    norms = jax.jit(
        lambda k, alpha, y: (
            jnp.max(jnp.abs(k @ alpha - y)),
            jnp.max(jnp.sum(jnp.abs(k), 1)) * jnp.max(jnp.abs(alpha)) + jnp.max(jnp.abs(y)),
        ),
        out_shardings=everywhere,
    )
    residual, scale = norms(k, alpha, y)
    relative = float(residual / scale)
    print(f"Relative residual |K alpha - y| / (|K| |alpha| + |y|): {relative:.1e}")

    unseen = jax.random.uniform(jax.random.key(1), (200, 2))
    error = jnp.sqrt(jnp.mean((kernel(unseen, x) @ alpha - truth(unseen)) ** 2))
    print(f"Error at 200 unseen points: {float(error):.4f}, with noise of {NOISE} in the data")

    if path := os.environ.get("JAXMG_EXAMPLE_PICTURE"):
        draw(path, lambda places: kernel(places, x) @ alpha)

    if not relative < 1e-13:
        sys.exit("The residual is too large for rounding errors.")


def draw(path, predicted):
    """Draw the function and its prediction over the unit square."""
    from matplotlib import pyplot as plt

    width = jnp.linspace(0, 1, 80)
    places = jnp.stack(jnp.meshgrid(width, width), axis=-1).reshape(-1, 2)
    figure, panels = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained", sharey=True)
    for panel, title, values in (
        (panels[0], "function", truth(places)),
        (panels[1], "prediction from noisy values", predicted(places)),
    ):
        image = panel.imshow(
            values.reshape(80, 80), origin="lower", extent=(0, 1, 0, 1), vmin=-1, vmax=1
        )
        panel.set_title(title)
    figure.colorbar(image, ax=panels)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
