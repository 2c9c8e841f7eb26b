"""Composition of calls: in loops, in one program, from several threads, on overlapping meshes."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxmg import linalg, potrs
from systems import ROWS, assert_solves, gaussian, positive_definite, put

N = 24
A = positive_definite(N)
B = gaussian((N, 2))


def solve(a, b):
    return linalg.solve(a, b, assume_a="pos")


@pytest.fixture
def system(make_mesh, axis_type):
    mesh = make_mesh(4, axis_type=axis_type)
    return put(A, mesh, "x", None), put(B, mesh, None, None)


def thrice(b):
    for _ in range(3):
        b = np.linalg.solve(A, b)
    return b


def test_fori_loop(system):
    x = jax.jit(lambda a, b: jax.lax.fori_loop(0, 3, lambda _, x: solve(a, x), b))(*system)
    np.testing.assert_allclose(x, thrice(B), rtol=1e-10)


def test_scan_over_changing_matrices(system):
    a, b = system

    @jax.jit
    def run(a, b):
        return jax.lax.scan(lambda c, _: (c + 1, solve(c * a, b)), 1.0, None, length=4)[1]

    for i, x in enumerate(np.asarray(run(a, b))):
        assert_solves((i + 1) * A, x, B)


def test_while_loop_around_both(system):
    def body(state):
        i, x = state
        return i + 1, solve(system[0], x)

    x = jax.jit(lambda b: jax.lax.while_loop(lambda s: s[0] < 3, body, (0, b))[1])(system[1])
    np.testing.assert_allclose(x, thrice(B), rtol=1e-10)


def inverse(a):
    return linalg.inv(a, assume_a="pos")


def rebuilt(a):
    w, v = linalg.eigh(a)
    return (v * w) @ v.conj().T


# Each function returns A or its inverse: applied three times, it equals one application.
@pytest.mark.parametrize(("function", "inverts"), [(inverse, True), (rebuilt, False)])
def test_inverses_and_eigenproblems_in_loops_and_branches(make_mesh, function, inverts):
    a = put(A, make_mesh(4), *ROWS)

    @jax.jit
    def run(a, taken):
        looped = jax.lax.fori_loop(0, 2, lambda _, x: function(x), a)
        return looped, jax.lax.cond(taken, function, lambda x: x, a), solve(a, function(a) @ B)

    expected = np.linalg.inv(A) if inverts else A
    for taken in (True, False):
        looped, branch, chained = run(a, taken)
        np.testing.assert_allclose(looped, A, atol=1e-11)
        np.testing.assert_allclose(branch, expected if taken else A, atol=1e-11)
        np.testing.assert_allclose(chained, np.linalg.solve(A, expected @ B), atol=1e-11)


def test_meshes_of_other_orders_take_turns(make_mesh):
    devices = list(make_mesh(4).devices.flat)
    for order in (devices[::-1], devices[:2], devices[1:], devices):
        mesh = Mesh(np.array(order), ("x",))
        a = put(A, mesh, *ROWS)
        np.testing.assert_allclose(inverse(a) @ A, np.eye(N), atol=1e-11)
        np.testing.assert_allclose(rebuilt(a), A, atol=1e-11)
        assert_solves(A, linalg.cho_solve(linalg.cho_factor(a), put(B, mesh)), B)


def test_all_routines_in_flight_on_overlapping_meshes(make_mesh):
    """All calls are enqueued before any result is awaited."""
    devices = np.array(make_mesh(4).devices.flat)
    calls = []
    for order in ((0, 1, 2), (3, 1), (2, 3, 0), (1,), (3, 2, 1, 0)):
        mesh = Mesh(devices[list(order)], ("x",))
        a = put(A, mesh, *ROWS)
        factor = linalg.cho_factor(a)
        calls.append((inverse(a), linalg.cho_solve(factor, put(B, mesh)), rebuilt(a)))
    for inverted, x, same in calls:
        np.testing.assert_allclose(inverted @ A, np.eye(N), atol=1e-11)
        assert_solves(A, x, B)
        np.testing.assert_allclose(same, A, atol=1e-11)


@pytest.mark.parametrize("taken", [True, False])
def test_cond_with_a_solve_in_one_branch(system, taken):
    run = jax.jit(lambda p, a, b: jax.lax.cond(p, lambda: solve(a, b), lambda: b))
    x = run(taken, *system)
    np.testing.assert_allclose(x, np.linalg.solve(A, B) if taken else B, rtol=1e-10)


def test_two_different_solves_in_one_program(system):
    @jax.jit
    def run(a, b):
        return solve(a, b), solve(2 * a, b[:, :1]), solve(a, 3 * b)

    for _ in range(5):
        x, y, z = run(*system)
        assert_solves(A, x, B)
        assert_solves(2 * A, y, B[:, :1])
        assert_solves(A, z, 3 * B)


def test_one_jitted_solve_used_several_times_in_a_program(system):
    inner = jax.jit(solve)
    run = jax.jit(lambda a, b: [inner((i + 1) * a, b) for i in range(6)])
    for _ in range(5):
        for i, x in enumerate(run(*system)):
            assert_solves((i + 1) * A, x, B)


def test_a_chain(system):
    run = jax.jit(lambda a, b: solve(a, solve(a, solve(a, b))))
    np.testing.assert_allclose(run(*system), thrice(B), rtol=1e-10)


def test_beside_collectives_and_matmuls(make_mesh):
    mesh = make_mesh(4)

    def norm(b):
        return jax.lax.psum(jnp.vdot(b, b), "x")

    @jax.jit
    def run(a, b):
        norms = jax.shard_map(norm, mesh=mesh, in_specs=P("x"), out_specs=P())(b)
        x = solve(a @ a, b)
        return norms, x, a @ (a @ x)

    norms, x, back = run(put(A, mesh, "x", None), put(B, mesh, "x", None))
    np.testing.assert_allclose(norms, np.vdot(B, B))
    assert_solves(A @ A, x, B)
    np.testing.assert_allclose(back, B, rtol=1e-8, atol=1e-8)


def test_two_threads(make_mesh):
    mesh = make_mesh(4)
    errors = []

    def work(seed):
        try:
            a, b = positive_definite(N, seed=seed), gaussian((N, 1 + seed), seed=seed)
            for _ in range(10):
                assert_solves(a, solve(put(a, mesh, "x", None), put(b, mesh)), b)
        except BaseException as error:  # Handed to the main thread.
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_thirty_calls_in_flight(make_mesh):
    mesh = make_mesh(4)
    calls = []
    for i in range(30):
        n = (24, 17, 40)[i % 3]
        a, b = positive_definite(n, seed=i), gaussian((n, 1 + i % 2), seed=i)
        calls.append((a, solve(put(a, mesh, "x", None), put(b, mesh)), b))
    for call in calls:
        assert_solves(*call)


def test_meshes_taking_turns_on_overlapping_devices(make_mesh, devices):
    make_mesh(4)
    parts = [Mesh(np.array(devices)[list(p)], ("x",)) for p in ((0, 1), (1, 2, 3), (3, 0), (2, 1))]
    calls = []
    for i in range(12):
        mesh = parts[i % 4]
        calls.append(potrs(put(A, mesh, "x", None), put((i + 1) * B, mesh), 3, mesh, ROWS))
    for i, x in enumerate(calls):
        assert_solves(A, x, (i + 1) * B)


def test_as_many_programs_as_axes(make_mesh):
    """The two rows of a grid solve different systems side by side."""
    mesh = make_mesh(2, 2)
    from jaxmg import potrs_shardmap_ctx

    run = jax.shard_map(
        lambda a, b: potrs_shardmap_ctx(a[0], b, 3, axis_name="y")[0][None],
        mesh=mesh,
        in_specs=(P("x", "y", None), P(None, None)),
        out_specs=P("x"),
    )
    stack = put(np.stack([A, 2 * A]), mesh, "x", "y", None)
    for _ in range(3):
        x = np.asarray(jax.jit(run)(stack, put(B, mesh)))
        assert_solves(A, x[0], B)
        assert_solves(2 * A, x[1], B)
