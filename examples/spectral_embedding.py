"""Spectral embedding and kernel PCA of a curved surface: few of N eigenvectors are needed.

Points on a rolled sheet in three dimensions are flattened by the lowest eigenvectors of the graph
Laplacian of their nearest neighbours, and projected by the highest ones of a centred kernel matrix.
Only these few eigenvectors are computed. The second Laplacian eigenvector orders the points along
the sheet, which no linear projection does.
"""

import os

import jax

jax.config.update("jax_num_cpu_devices", 4)  # without a GPU
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import jaxmg

mesh = jax.make_mesh((len(jax.devices()),), ("x",), axis_types=(AxisType.Auto,))
rows = NamedSharding(mesh, P("x", None))
N, NEIGHBOURS = 512 - 512 % mesh.size, 10

# A rolled sheet, `along` being the place along it.
u, v = jax.random.uniform(jax.random.key(0), (2, N))
along, across = 1.5 * jnp.pi * (1 + 2 * u), 10 * v
points = jnp.stack([along * jnp.cos(along), across, along * jnp.sin(along)], axis=1)
squares = jnp.sum((points[:, None] - points[None]) ** 2, axis=-1)


@jax.jit
def laplacian_embedding(squares):
    """Eigenvectors 1 and 2 of the normalised Laplacian; number 0 is constant up to the degrees."""
    nearest = jnp.sort(squares, axis=1)[:, NEIGHBOURS, None]
    edges = (squares <= nearest) | (squares <= nearest.T)
    degrees = jnp.sum(edges, axis=1)
    laplacian = jnp.eye(N) - edges / jnp.sqrt(degrees[:, None] * degrees)
    laplacian = jax.lax.with_sharding_constraint(laplacian, rows)
    w, y = jaxmg.linalg.eigh(laplacian, subset_by_index=(0, 2))
    return w, y / jnp.sqrt(degrees)[:, None]


@jax.jit
def kernel_pca(squares, width=4.0):
    """The two components of largest variance in the feature space of a Gaussian kernel."""
    kernel = jnp.exp(-squares / (2 * width**2))
    centred = kernel - kernel.mean(0) - kernel.mean(1)[:, None] + kernel.mean()
    centred = jax.lax.with_sharding_constraint(centred, rows)
    w, y = jaxmg.linalg.eigh(centred, subset_by_index=(N - 2, N - 1))
    return w[::-1], (y * jnp.sqrt(w))[:, ::-1], centred


def rank_correlation(a, b):
    a, b = (jnp.argsort(jnp.argsort(x)).astype(float) for x in (a, b))
    return abs(float(jnp.corrcoef(a, b)[0, 1]))


w, embedded = laplacian_embedding(squares)
ordering = rank_correlation(embedded[:, 1], along)
linear = max(rank_correlation(points[:, i], along) for i in range(3))
print(f"eigenvalues of the Laplacian: {w[0]:.1e}, {w[1]:.2e}, {w[2]:.2e}")
print(f"correlation with the place along the sheet: {ordering:.3f}, of coordinates {linear:.3f}")
assert abs(w[0]) < 1e-12 and w[1] > 1e-6  # the graph is connected
assert ordering > 0.98 > linear

variances, components, centred = kernel_pca(squares)
known = jnp.linalg.eigvalsh(jax.device_get(centred))[-1:-3:-1]
assert jnp.allclose(variances, known, rtol=1e-10)
assert jnp.allclose(components.T @ components, jnp.diag(variances), atol=1e-9 * variances[0])
share = float(variances.sum() / jnp.trace(centred))
print(f"kernel PCA: two components hold {share:.0%} of the variance")

if path := os.environ.get("JAXMG_EXAMPLE_PICTURE"):
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
    drawn = {
        "points, from the side": points[:, ::2],
        "Laplacian eigenvectors": embedded[:, 1:],
        "kernel PCA": components,
    }
    for panel, (title, xy) in zip(panels, drawn.items(), strict=True):
        panel.scatter(*xy.T, c=along, s=6, cmap="viridis")
        panel.set(title=title, xticks=[], yticks=[])
    figure.savefig(path, dpi=130)
