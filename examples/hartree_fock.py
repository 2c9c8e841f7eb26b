"""Hartree-Fock for the helium atom: one overlap matrix, many generalised eigenproblems.

The orbital is expanded in N Gaussians with exponents in geometric progression, which are not
orthogonal: every iteration of the self-consistent field solves F C = S C diag(e) with the same
overlap S. Its Cholesky factor is made once. With enough Gaussians the energy is the Hartree-Fock
limit of helium, -2.86168 hartree.
"""

import os

import jax

jax.config.update("jax_num_cpu_devices", 4)  # without a GPU
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import jaxmg

LIMIT = -2.861679996  # hartree
CHARGE, N = 2, 24

mesh = jax.make_mesh((len(jax.devices()),), ("x",), axis_types=(AxisType.Auto,))
rows = NamedSharding(mesh, P("x", None) if N % mesh.size == 0 else P())

# Integrals of exp(-a r^2) and exp(-b r^2), normalised, with p = a + b.
exponents = 0.05 * 2.3 ** jnp.arange(N)
norms = (2 * exponents / jnp.pi) ** 0.75
a, b, scale = exponents[:, None], exponents[None, :], norms[:, None] * norms[None, :]
p = a + b
overlap = jax.device_put(scale * (jnp.pi / p) ** 1.5, rows)
kinetic = jax.device_put(scale * 3 * a * b * jnp.pi**1.5 / p**2.5, rows)
attraction = jax.device_put(-scale * CHARGE * 2 * jnp.pi / p, rows)
core = kinetic + attraction


def repulsion(density):
    """The potential of the electrons: sum over kl of (ij|kl) density_kl."""
    q, weights = p.ravel(), (scale * density).ravel()
    pairs = 2 * jnp.pi**2.5 / (p[..., None] * q * jnp.sqrt(p[..., None] + q))
    return scale * (pairs @ weights)


@jax.jit
def iterate(factor, density):
    """Return the energy of a density, the new density of the lowest orbital, and the orbital."""
    potential = repulsion(density) / 2  # with exchange, for two electrons in one orbital
    energy = jnp.sum(density * (core + potential / 2))
    fock = jax.lax.with_sharding_constraint(core + potential, rows)
    _, orbital = jaxmg.linalg.eigh(fock, factor, subset_by_index=(0, 0))
    orbital = orbital[:, 0]
    return energy, 2 * jnp.outer(orbital, orbital), orbital


factor = jaxmg.linalg.cho_factor(overlap)
density, energy = jnp.zeros((N, N)), jnp.inf  # begin with the orbital without repulsion
for step in range(40):
    before = energy
    energy, density, orbital = iterate(factor, density)
    if step % 5 == 0:
        print(f"step {step:2d}: energy {energy:.9f}")
    if abs(energy - before) < 1e-11:
        break

virial = -(energy - jnp.sum(density * kinetic)) / jnp.sum(density * kinetic)
print(f"-V / T: {virial:.6f} (2 for the exact orbital)")
assert abs(orbital @ overlap @ orbital - 1) < 1e-10
assert abs(virial - 2) < 1e-5
assert LIMIT - 1e-8 < energy < LIMIT + 1e-5
print(f"energy {energy:.6f} hartree, Hartree-Fock limit {LIMIT:.6f}, {step} iterations")

if path := os.environ.get("JAXMG_EXAMPLE_PICTURE"):
    from matplotlib import pyplot as plt

    r = jnp.linspace(0, 4, 200)
    radial = (norms * jnp.exp(-exponents * r[:, None] ** 2)) @ orbital
    hydrogenic = (CHARGE**3 / jnp.pi) ** 0.5 * jnp.exp(-CHARGE * r)
    plt.figure(figsize=(6, 4), layout="constrained")
    plt.plot(r, 4 * jnp.pi * r**2 * radial**2, label="Hartree-Fock")
    plt.plot(r, 4 * jnp.pi * r**2 * hydrogenic**2, "--", label="without repulsion")
    plt.xlabel("r / bohr")
    plt.ylabel("radial density of an electron")
    plt.legend()
    plt.savefig(path, dpi=130)
