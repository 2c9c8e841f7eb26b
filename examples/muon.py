"""Train a network with Muon: orthogonalised updates, a batch of layers at a time.

Muon replaces the momentum of each weight matrix by its orthogonal polar factor.
`polar(method="newton_schulz")` computes it approximately, by products of matrices; under `vmap`
over equal layers, the devices share the layers and do not communicate. The exact factor is
`polar`'s default, against which the approximation is checked.
"""

import os

import jax

jax.config.update("jax_num_cpu_devices", 4)  # without a GPU
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import jaxmg

LAYERS, WIDTH, SAMPLES, STEPS = 4, 32, 256, 150

mesh = jax.make_mesh((len(jax.devices()),), ("x",), axis_types=(AxisType.Auto,))
batch = NamedSharding(mesh, P("x", None, None) if LAYERS % mesh.size == 0 else P())


def model(weights, x):
    for layer in weights:  # (LAYERS, WIDTH, WIDTH)
        x = x + jnp.tanh(x @ layer) / LAYERS
    return x


def loss(weights, x, y):
    return jnp.mean((model(weights, x) - y) ** 2)


def orthogonalised(matrices):
    """U V^T of each matrix U diag(s) V^T, except in directions where s is tiny."""
    matrices = jax.lax.with_sharding_constraint(matrices, batch)
    polar = jax.vmap(lambda m: jaxmg.linalg.polar(m, method="newton_schulz", compute_h=False))
    return polar(matrices)


def trained(direction, rate, weights, x, y):
    """Return the losses of a training with momentum, updates being `direction(momentum)`."""

    def step(state, i):
        weights, momentum = state
        value, gradient = jax.value_and_grad(loss)(weights, x, y)
        momentum = 0.9 * momentum + gradient
        decay = 1 - i / STEPS
        return (weights - rate * decay * direction(momentum), momentum), value

    return jax.jit(lambda state: jax.lax.scan(step, state, jnp.arange(STEPS))[1])(
        (weights, 0 * weights)
    )


keys = jax.random.split(jax.random.key(0), 3)
x = jax.random.normal(keys[0], (SAMPLES, WIDTH))
y = model(3 * jax.random.normal(keys[1], (LAYERS, WIDTH, WIDTH)) / WIDTH**0.5, x)
start = jax.random.normal(keys[2], (LAYERS, WIDTH, WIDTH)) / WIDTH**0.5

# The approximate factor against the exact one, for the first gradient.
gradient = jax.grad(loss)(start, x, y)
rough = jax.jit(orthogonalised)(gradient)
exact = jnp.stack([jaxmg.linalg.polar(g)[0] for g in gradient])
values = jnp.linalg.svd(rough, compute_uv=False)
alignment = float(jnp.min(jnp.einsum("lij,lij->l", rough, exact) / WIDTH))
print(f"singular values: median {jnp.median(values):.2f}, largest {values.max():.2f}")
print(f"alignment with U V^T: {alignment:.2f}")
assert jnp.allclose(jnp.swapaxes(exact, 1, 2) @ exact, jnp.eye(WIDTH), atol=1e-4)
assert jnp.median(values) > 0.9 and values.max() < 1.2 and alignment > 0.9

history = {
    "Muon": trained(orthogonalised, 0.05, start, x, y),
    "momentum": min(
        (trained(lambda m: m, rate, start, x, y) for rate in (0.5, 1.0, 2.0, 4.0)),
        key=lambda losses: jnp.nan_to_num(losses[-1], nan=jnp.inf),
    ),
}
for name, losses in history.items():
    print(f"{name:8}: loss {losses[0]:.4f}, at the end {losses[-1]:.5f}")
assert history["Muon"][-1] < 0.1 * history["Muon"][0]
print(f"ratio of the losses at the end: {history['Muon'][-1] / history['momentum'][-1]:.2f}")

if path := os.environ.get("JAXMG_EXAMPLE_PICTURE"):
    from matplotlib import pyplot as plt

    plt.figure(figsize=(6, 4), layout="constrained")
    for name, losses in history.items():
        plt.semilogy(losses, label=name)
    plt.xlabel("step")
    plt.ylabel("loss")
    plt.legend()
    plt.savefig(path, dpi=130)
