"""NetKet's distributed solvers compared with its one-device solvers; run by `test_netket.py`.

All devices that JAX finds are in the mesh, as NetKet expects.
"""

import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
import pytest
from netket.optimizer import solver
from systems import gaussian, positive_definite, put, set_mesh

N = 32

# The 2-D grid of a matrix differs from NetKet's mesh, which JAX < 0.8 does not expose inside jit.
GRIDS = [None, (4, 1), (1, 4), (2, 2)] if hasattr(jax.sharding, "get_mesh") else [None, (4, 1)]


def rank_deficient(dtype):
    """Return a matrix of rank N / 2, and a right-hand side in its range."""
    g = gaussian((N, N // 2), dtype)
    a = g @ g.conj().T / N
    return a, a @ gaussian((N,), dtype)


SOLVERS = {
    "cholesky": (
        solver.cholesky_distributed,
        solver.cholesky,
        lambda dtype: (positive_definite(N, dtype), gaussian((N,), dtype)),
    ),
    "pinv_smooth": (
        solver.pinv_smooth_distributed(rtol=1e-10, rtol_smooth=1e-12),
        solver.pinv_smooth(rtol=1e-10, rtol_smooth=1e-12),
        rank_deficient,
    ),
}


@pytest.fixture
def mesh(devices, make_mesh, axis_type):
    return make_mesh(len(devices), axis_type=axis_type, names="S")


@pytest.mark.parametrize(
    ("jit", "dtype"), [(False, "float64"), (True, "complex128")], ids=["eager", "jit"]
)
@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("name", SOLVERS)
def test_solver(mesh, name, grid, dtype, jit):
    distributed, own, system = SOLVERS[name]
    a, b = system(dtype)
    known, _ = own(jnp.asarray(a), jnp.asarray(b))

    def solve(a, b):
        return distributed(a, b, process_grid=grid)[0]

    with set_mesh(mesh):
        on_mesh = put(a, mesh, "S", None), put(b, mesh)
        for _ in range(2):  # Nothing is donated.
            x = (jax.jit(solve) if jit else solve)(*on_mesh)
    assert x.shape == b.shape and x.dtype == b.dtype
    np.testing.assert_allclose(x, known, rtol=0, atol=1e-9 * abs(known).max())


def test_right_hand_side_is_a_pytree(mesh):
    a = positive_definite(N)
    b = {"bias": gaussian((8,), seed=1), "kernel": gaussian((4, 6), seed=2)}
    known, _ = solver.cholesky(jnp.asarray(a), b)
    with set_mesh(mesh):
        x, _ = jax.jit(solver.cholesky_distributed)(put(a, mesh, "S", None), b)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-10), x, known)


@pytest.mark.parametrize("fails", [False, True])
def test_fallback_on_nan(mesh, fails):
    """A matrix that is not positive definite gives NaN; NetKet then uses its fallback solver."""
    distributed, own = (
        solver.nan_fallback(SOLVERS["cholesky"][i], SOLVERS["pinv_smooth"][i]) for i in (0, 1)
    )
    a, b = positive_definite(N), gaussian((N,))
    if fails:
        a[3, 3] *= -1
    known, _ = own(jnp.asarray(a), jnp.asarray(b))
    with set_mesh(mesh):
        x, info = jax.jit(distributed)(put(a, mesh, "S", None), put(b, mesh))
    assert np.asarray(info["solver_fallback"]) == fails
    np.testing.assert_allclose(x, known, rtol=0, atol=1e-9 * abs(known).max())


def energies(linear_solver, use_ntk):
    """Return the energies of a few steps of stochastic reconfiguration on an Ising chain."""
    space = nk.hilbert.Spin(0.5, 4)
    state = nk.vqs.MCState(
        nk.sampler.MetropolisLocal(space, n_chains=16),
        nk.models.RBM(alpha=1),
        n_samples=64,
        seed=1,
        sampler_seed=2,
    )
    driver = nk.driver.VMC_SR(
        nk.operator.IsingJax(space, nk.graph.Chain(4), h=1.0),
        nk.optimizer.Sgd(0.05),
        variational_state=state,
        diag_shift=0.01,
        use_ntk=use_ntk,
        linear_solver=linear_solver,
    )
    log = nk.logging.RuntimeLog()
    driver.run(3, out=log, show_progress=False)
    return np.array(log.data["Energy"]["Mean"])


@pytest.mark.parametrize(("name", "use_ntk"), [("cholesky", True), ("pinv_smooth", False)])
def test_vmc_sr(devices, make_mesh, name, use_ntk):
    distributed, own, _ = SOLVERS[name]
    with set_mesh(make_mesh(len(devices), names="S")):
        made, known = (energies(linear_solver, use_ntk) for linear_solver in (distributed, own))
    assert len(set(known)) == 3
    np.testing.assert_allclose(made, known, rtol=1e-8)
