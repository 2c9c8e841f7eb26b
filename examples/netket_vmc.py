"""Variational Monte Carlo with NetKet: its distributed solvers, and jaxmg.linalg as its solver.

NetKet's VMC_SR driver optimises a spin chain by stochastic reconfiguration, with as many unknowns
as there are parameters, or by MinSR (`use_ntk=True`), with as many as there are samples. Its
solvers `cholesky_distributed` and `pinv_smooth_distributed` call this package on all devices; any
function of a matrix and a right-hand side, such as the one below, is a solver, too. The energies
are compared with exact diagonalisation. Requires `pip install netket`.
"""

import os

import jax

jax.config.update("jax_num_cpu_devices", 4)  # without a GPU
jax.config.update("jax_enable_x64", True)
import netket as nk
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from netket.optimizer import solver

import jaxmg

SITES, STEPS, SAMPLES = 8, 60, 256

# NetKet distributes its samples over a mesh with this axis.
mesh = jax.make_mesh((len(jax.devices()),), ("S",), axis_types=(AxisType.Auto,))
jax.set_mesh(mesh)

graph = nk.graph.Chain(SITES)
space = nk.hilbert.Spin(0.5, SITES)
hamiltonian = nk.operator.IsingJax(space, graph, h=1.0, J=-1.0)

dense = jax.device_put(hamiltonian.to_dense(), NamedSharding(mesh, P("S", None)))
exact = float(jaxmg.linalg.eigvalsh(dense, subset_by_index=(0, 0))[0])


def by_cholesky(a, b):
    """Solve by jaxmg.linalg, with a shift of the diagonal where it is needed."""
    flat, unravel = ravel_pytree(b)
    factor, _ = jaxmg.linalg.cho_factor_shifted(a)
    return unravel(jaxmg.linalg.cho_solve(factor, flat)), None


def optimised(linear_solver, use_ntk):
    """Return the energies of all steps, and the state."""
    state = nk.vqs.MCState(
        nk.sampler.MetropolisLocal(space, n_chains=64),
        nk.models.RBM(alpha=2, kernel_init=jax.nn.initializers.normal(0.1)),
        n_samples=SAMPLES,
        seed=1,
        sampler_seed=2,
    )
    driver = nk.driver.VMC_SR(
        hamiltonian,
        nk.optimizer.Sgd(0.1),
        variational_state=state,
        diag_shift=1e-3,
        use_ntk=use_ntk,
        linear_solver=linear_solver,
    )
    log = nk.logging.RuntimeLog()
    driver.run(STEPS, out=log, show_progress=False)
    return np.real(log.data["Energy"]["Mean"]), state


runs = {
    "SR, pinv_smooth_distributed": (solver.pinv_smooth_distributed(rtol=1e-10), False),
    "MinSR, cholesky_distributed": (solver.cholesky_distributed, True),
    "MinSR, jaxmg.linalg": (by_cholesky, True),
}
history = {}
for name, (linear_solver, use_ntk) in runs.items():
    history[name], state = optimised(linear_solver, use_ntk)
    psi = state.to_array()  # normalised
    energy = float((psi.conj() @ (dense @ psi)).real)
    print(
        f"{name:28}: energy {energy:.5f}, exact {exact:.5f}, error {(energy - exact) / -exact:.1e}"
    )
    assert 0 <= energy - exact < 5e-3 * abs(exact)

# The same systems, solved in two ways.
one, other = (energies for name, energies in history.items() if name.startswith("MinSR"))
np.testing.assert_allclose(one[:10], other[:10], rtol=1e-5)
print("NetKet's solver and jaxmg.linalg take the same steps")

if path := os.environ.get("JAXMG_EXAMPLE_PICTURE"):
    from matplotlib import pyplot as plt

    plt.figure(figsize=(6, 4), layout="constrained")
    for (name, energies), style in zip(history.items(), ("-", "-", ":"), strict=True):
        plt.plot(energies, style, label=name)
    plt.axhline(exact, color="black", linestyle="--", label="exact")
    plt.xlabel("step")
    plt.ylabel("energy, mean of the samples")
    plt.legend()
    plt.savefig(path, dpi=130)
