"""Variational Monte Carlo in plain JAX: stochastic reconfiguration and MinSR of a spin chain.

The ground state of the transverse-field Ising chain, H = -sum_i Z_i Z_{i+1} - h sum_i X_i, is
approximated by a restricted Boltzmann machine. Each step solves a linear system: by stochastic
reconfiguration (SR), with as many unknowns as there are parameters; by MinSR, with as many as there
are samples. Both give the same step. Matrices are sharded over all devices. The chain is small
enough to sample the state exactly, and to compare with the exact energy.
"""

import os

import jax

jax.config.update("jax_num_cpu_devices", 4)  # without a GPU
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import jaxmg

SITES, FIELD = 8, 1.0
HIDDEN, SAMPLES = 16, 256
RATE, SHIFT = 0.1, 1e-3

mesh = jax.make_mesh((len(jax.devices()),), ("x",), axis_types=(AxisType.Auto,))
rows = NamedSharding(mesh, P("x", None))

STATES = 2**SITES
spins = 1.0 - 2.0 * ((jnp.arange(STATES)[:, None] >> jnp.arange(SITES)) & 1)  # a row for each state


def hamiltonian():
    bonds = -jnp.sum(spins * jnp.roll(spins, 1, axis=1), axis=1)
    flipped = jnp.arange(STATES)[:, None] ^ (1 << jnp.arange(SITES))
    return jnp.diag(bonds).at[jnp.arange(STATES)[:, None], flipped].add(-FIELD)


def log_amplitude(theta, s):
    weights, biases = theta[: HIDDEN * SITES].reshape(HIDDEN, SITES), theta[HIDDEN * SITES :]
    return jnp.sum(jnp.log(jnp.cosh(biases + weights @ s)))


def local_energy(theta, s):
    """<s|H|psi> / <s|psi>."""
    flips = s * (1 - 2 * jnp.eye(SITES))
    ratios = jnp.exp(jax.vmap(log_amplitude, (None, 0))(theta, flips) - log_amplitude(theta, s))
    return -jnp.sum(s * jnp.roll(s, 1)) - FIELD * jnp.sum(ratios)


def step_by_sr(jacobian, energies):
    """(O^T O + shift I) step = O^T e: a system of the order of the parameters."""
    metric = jacobian.T @ jacobian + SHIFT * jnp.eye(jacobian.shape[1])
    metric = jax.lax.with_sharding_constraint(metric, rows)
    return jaxmg.linalg.solve(metric, jacobian.T @ energies, assume_a="pos")


def step_by_minsr(jacobian, energies):
    """step = O^T (O O^T + shift I)^-1 e: a system of the order of the samples."""
    kernel = jacobian @ jacobian.T + SHIFT * jnp.eye(jacobian.shape[0])
    kernel = jax.lax.with_sharding_constraint(kernel, rows)
    return jacobian.T @ jaxmg.linalg.solve(kernel, energies, assume_a="pos")


def sampled(theta, key):
    """Return the centred derivatives of log psi, the centred local energies, and their mean."""
    log_weights = 2 * jax.vmap(log_amplitude, (None, 0))(theta, spins)
    s = spins[jax.random.categorical(key, log_weights, shape=(SAMPLES,))]
    s = jax.lax.with_sharding_constraint(s, rows)
    jacobian = jax.vmap(jax.grad(log_amplitude), (None, 0))(theta, s)
    energies = jax.vmap(local_energy, (None, 0))(theta, s)
    mean = jnp.mean(energies)
    return (jacobian - jnp.mean(jacobian, 0)) / SAMPLES**0.5, (energies - mean) / SAMPLES**0.5, mean


def optimised(step_by, steps=100):
    """Return the parameters after some steps, and the energies on the way."""

    @jax.jit
    def update(theta, key):
        jacobian, energies, mean = sampled(theta, key)
        return theta - RATE * step_by(jacobian, energies), mean

    theta = 0.1 * jax.random.normal(jax.random.key(0), (HIDDEN * (SITES + 1),))
    means = []
    for key in jax.random.split(jax.random.key(1), steps):
        theta, mean = update(theta, key)
        means.append(float(mean))
    return theta, means


h = jax.device_put(hamiltonian(), rows)
exact = float(jaxmg.linalg.eigvalsh(h, subset_by_index=(0, 0))[0])

history = {}
for name, step_by in (("SR", step_by_sr), ("MinSR", step_by_minsr)):
    theta, history[name] = optimised(step_by)
    psi = jnp.exp(jax.vmap(log_amplitude, (None, 0))(theta, spins))
    energy = float(psi @ h @ psi / (psi @ psi))  # of the state itself, without sampling
    print(
        f"{name:5}: energy {energy:.6f}, exact {exact:.6f}, error {(energy - exact) / -exact:.1e}"
    )
    assert 0 <= energy - exact < 1e-3 * abs(exact)

gradient = jax.jit(sampled)(theta, jax.random.key(2))[:2]
steps = [jax.jit(step_by)(*gradient) for step_by in (step_by_sr, step_by_minsr)]
difference = float(jnp.linalg.norm(steps[0] - steps[1]) / jnp.linalg.norm(steps[0]))
assert difference < 1e-8
print(f"SR and MinSR: steps differ by {difference:.1e}")

if path := os.environ.get("JAXMG_EXAMPLE_PICTURE"):
    from matplotlib import pyplot as plt

    plt.figure(figsize=(6, 4), layout="constrained")
    for (name, means), style in zip(history.items(), ("-", ":"), strict=True):
        plt.plot(means, style, linewidth=2, label=name)
    plt.axhline(exact, color="black", linestyle="--", label="exact")
    plt.xlabel("step")
    plt.ylabel("energy, mean of the samples")
    plt.legend()
    plt.savefig(path, dpi=130)
