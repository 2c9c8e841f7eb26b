"""Donation saves the copy of the matrix; without it, no argument is overwritten."""

import jax
import numpy as np
import pytest
from jaxmg import linalg, lu_solve, potri, potrs, syevd
from systems import ROWS, assert_solves, gaussian, positive_definite, put

N = 32
A = positive_definite(N)
B = gaussian((N,))


def test_donate(make_mesh, axis_type):
    mesh = make_mesh(4, axis_type=axis_type)
    a, b = put(A, mesh, "x", None), put(B, mesh)
    assert_solves(A, linalg.solve(a, b, assume_a="pos", donate=True), B)
    assert a.is_deleted()
    np.testing.assert_array_equal(b, B)


def test_without_donation_a_is_not_overwritten(make_mesh, axis_type):
    mesh = make_mesh(4, axis_type=axis_type)
    a = put(A, mesh, "x", None)
    for _ in range(2):
        assert_solves(A, linalg.solve(a, put(B, mesh), assume_a="pos"), B)
    np.testing.assert_array_equal(a, A)


@pytest.mark.filterwarnings("error:Some donated buffers")
@pytest.mark.parametrize("call", [lambda a, **k: potrs(a, B, **k), potri, syevd])
def test_names_of_0_0_x_and_1_4(make_mesh, axis_type, call):
    a = put(A, make_mesh(4, axis_type=axis_type), "x", None)
    kept = jax.tree.map(np.asarray, call(a, donate=False))
    np.testing.assert_array_equal(a + 0, A)  # of a copy: JAX 0.11 keeps what NumPy looks into
    jax.tree.map(np.testing.assert_array_equal, call(a, donate=True), kept)
    assert a.is_deleted()


@pytest.mark.filterwarnings("error:Some donated buffers")
def test_lu_solve_of_1_4(make_mesh, axis_type):
    """It donates by default."""
    a = put(A, make_mesh(4, axis_type=axis_type), "x", None)
    kept, status = lu_solve(a, B, 4, donate=False, return_status=True)
    assert_solves(A, kept, B)
    assert status == 0 and not a.is_deleted()
    np.testing.assert_array_equal(lu_solve(a, B, 4), kept)
    assert a.is_deleted()
    _, status = lu_solve(np.zeros((3, 3)), np.ones(3), return_status=True)
    assert status == 7


@pytest.mark.filterwarnings("ignore:Some donated buffers were not usable")
def test_donation_to_an_outer_jit(make_mesh, axis_type):
    mesh = make_mesh(4, axis_type=axis_type)
    run = jax.jit(lambda a, b: potrs(a, b, 4, mesh, ROWS), donate_argnums=0)
    for _ in range(2):
        assert_solves(A, run(put(A, mesh, "x", None), put(B, mesh)), B)


def test_a_result_in_the_place_of_a_donated_matrix_saves_the_copy(make_mesh, axis_type):
    """As the documentation says: without one, XLA makes the copy nevertheless."""
    mesh = make_mesh(4, axis_type=axis_type)
    a, b = put(A, mesh, "x", None), put(B, mesh)

    def with_factor(a, b):
        factor = linalg.cho_factor(a)
        return linalg.cho_solve(factor, b), factor

    run = jax.jit(with_factor, donate_argnums=0).lower(a, b).compile()
    assert run.memory_analysis().alias_size_in_bytes >= a.addressable_shards[0].data.nbytes
    assert_solves(A, run(a, b)[0], B)
    assert a.is_deleted()


@pytest.mark.gpu
def test_peak_memory_agrees_with_the_plan(devices):
    import jaxmg

    n, size = 8192, len(devices)
    mesh = jax.make_mesh((size,), ("x",))
    a = jax.jit(
        lambda: jax.numpy.eye(n) * 2, out_shardings=jax.sharding.NamedSharding(mesh, ROWS)
    )()
    b = put(np.ones(n), mesh)
    plan = jaxmg.plan("potrs", (n, n), "float64", mesh)
    before = devices[0].memory_stats()["peak_bytes_in_use"]
    linalg.solve(a, b, assume_a="pos", donate=True).block_until_ready()
    peak = devices[0].memory_stats()["peak_bytes_in_use"]
    assert peak <= max(before, 1.01 * plan.total_bytes)
