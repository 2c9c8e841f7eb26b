"""Time-dependent variational Monte Carlo: a quench of a spin chain, with a regularised metric.

A transverse-field Ising chain begins in the ground state of a strong field, where all spins point
along x; then the field is weak. The state is a restricted Boltzmann machine with complex parameters
theta, which follow the time-dependent variational principle, S d(theta)/dt = -i F. The quantum
geometric tensor S is nearly singular: small eigenvalues are damped smoothly, in the basis of its
eigenvectors. The chain is small enough to sum over all states instead of sampling them, and to
compare with the exact evolution, which uses all eigenvectors of H.
"""

import os

import jax

jax.config.update("jax_num_cpu_devices", 4)  # without a GPU
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import jaxmg

SITES, FIELD = 6, 0.5
HIDDEN = 12
TIME, STEPS = 1.0, 50
CUTOFF = 1e-8  # relative to the largest eigenvalue of S

mesh = jax.make_mesh((len(jax.devices()),), ("x",), axis_types=(AxisType.Auto,))
rows = NamedSharding(mesh, P("x", None))

STATES = 2**SITES
spins = 1.0 - 2.0 * ((jnp.arange(STATES)[:, None] >> jnp.arange(SITES)) & 1)
flipped = jnp.arange(STATES)[:, None] ^ (1 << jnp.arange(SITES))
bonds = -jnp.sum(spins * jnp.roll(spins, 1, axis=1), axis=1)
hamiltonian = jnp.diag(bonds).at[jnp.arange(STATES)[:, None], flipped].add(-FIELD)


def log_amplitudes(theta):
    weights, biases = theta[: HIDDEN * SITES].reshape(HIDDEN, SITES), theta[HIDDEN * SITES :]
    return jnp.sum(jnp.log(jnp.cosh(biases + spins @ weights.T)), axis=1)


def normalised(psi):
    return psi / jnp.linalg.norm(psi)


def magnetisation(psi):
    """The mean of X over the sites."""
    return jnp.mean(jnp.sum(psi.conj()[:, None] * psi[flipped], axis=0)).real


def velocity(theta):
    """d(theta)/dt, from the metric S and the forces F in the state of theta."""
    log_psi = log_amplitudes(theta)
    psi = normalised(jnp.exp(log_psi))
    probability = abs(psi) ** 2
    energies = hamiltonian @ psi / psi
    jacobian = jax.jacfwd(log_amplitudes, holomorphic=True)(theta)
    jacobian = jacobian - probability @ jacobian
    weighted = probability[:, None] * jacobian.conj()
    metric = jax.lax.with_sharding_constraint(weighted.T @ jacobian, rows)
    forces = weighted.T @ (energies - probability @ energies)
    w, v = jaxmg.linalg.eigh(metric)
    damped = w / (w**2 + (CUTOFF * w[-1]) ** 2)  # 1 / w, and 0 far below the cutoff
    return -1j * (v @ (damped * (v.conj().T @ forces)))


@jax.jit
def evolved(theta):
    """Heun's method; return the magnetisation and the state after each step."""

    def step(theta, _):
        first = velocity(theta)
        second = velocity(theta + TIME / STEPS * first)
        theta = theta + TIME / STEPS * (first + second) / 2
        psi = normalised(jnp.exp(log_amplitudes(theta)))
        return theta, (magnetisation(psi), psi)

    return jax.lax.scan(step, theta, length=STEPS)[1]


noise = jax.random.normal(jax.random.key(0), (2, HIDDEN * (SITES + 1)))
theta = 0.05 * (noise[0] + 1j * noise[1])  # close to all spins along x
start = normalised(jnp.exp(log_amplitudes(theta)))
found, states = evolved(theta)

w, v = jaxmg.linalg.eigh(jax.device_put(hamiltonian, rows))
times = np.linspace(0, TIME, STEPS + 1)[1:]
exact = (v * jnp.exp(-1j * w * times[:, None])[:, None, :]) @ (v.T @ start)
expected = jax.vmap(magnetisation)(exact)

fidelity = float(abs(jnp.vdot(exact[-1], states[-1])) ** 2)
error = float(jnp.max(abs(found - expected)))
energies = jnp.einsum("ts,sr,tr->t", states.conj(), hamiltonian, states).real
ends = f"{magnetisation(start):.3f} to {found[-1]:.3f}, exactly {expected[-1]:.3f}"
print(f"magnetisation falls from {ends}; its largest error is {error:.1e}")
print(f"energy drifts by {float(jnp.ptp(energies)):.1e}")
assert expected[-1] < 0.5 and error < 0.01 and fidelity > 0.99
print(f"fidelity with the exact state at t = {TIME}: {fidelity:.5f}")

if path := os.environ.get("JAXMG_EXAMPLE_PICTURE"):
    from matplotlib import pyplot as plt

    plt.figure(figsize=(6, 4), layout="constrained")
    plt.plot(times, expected, color="black", label="exact")
    plt.plot(times, found, "o", markersize=3, label="variational")
    plt.xlabel("time")
    plt.ylabel("magnetisation along x")
    plt.legend()
    plt.savefig(path, dpi=130)
