"""vmap over matrices, over right-hand sides and over both, inside and outside derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxmg import linalg
from systems import gaussian, positive_definite, put

N, SIZE = 8, 3
A = np.stack([positive_definite(N, "complex128", seed) for seed in range(SIZE)])
B = gaussian((SIZE, N, 2), "complex128")
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def solve(a, b):
    return linalg.solve(a, b, assume_a="pos")


@pytest.fixture
def mesh(make_mesh, axis_type):
    return make_mesh(4, axis_type=axis_type)


@pytest.fixture
def batches(mesh):
    return put(A, mesh, None, "x", None), put(B, mesh, None, None, None)


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("over", [(0, 0), (0, None), (None, 0)], ids=["both", "a", "b"])
def test_solve(mesh, batches, over, jit):
    a, b = (
        batch if axis == 0 else put(whole[1], mesh, *spec)
        for batch, whole, axis, spec in zip(
            batches, (A, B), over, (("x", None), (None, None)), strict=True
        )
    )
    x = jax.vmap(solve, over)
    x = (jax.jit(x) if jit else x)(a, b)
    np.testing.assert_allclose(x, np.linalg.solve(np.asarray(a), np.asarray(b)), **CLOSE)


def test_right_hand_sides_are_solved_for_at_once(make_mesh):
    mesh = make_mesh(4)
    a, b = put(A[0], mesh, "x", None), put(B, mesh)
    text = jax.jit(jax.vmap(solve, (None, 0))).lower(a, b).compile().as_text()
    assert text.count("jaxmg_posv") == 1 and " while(" not in text
    factor = linalg.cho_factor(a)
    run = jax.jit(jax.vmap(linalg.cho_solve, (None, 0)))
    text = run.lower(factor, b).compile().as_text()
    assert text.count("jaxmg_potrs") == 1 and " while(" not in text


def test_everything_of_factors(batches):
    a, b = batches

    @jax.jit
    @jax.vmap
    def run(a, b):
        factor = linalg.cho_factor(a)
        whitened = factor.solve_triangular(b), factor.solve_triangular(b, trans="C")
        return factor, factor.solve(b), factor.inv(), factor.lower(), factor.logdet(), whitened

    factors, x, inverse, triangle, logdet, (y, z) = run(a, b)
    l_known = np.linalg.cholesky(A)
    np.testing.assert_allclose(x, np.linalg.solve(A, B), **CLOSE)
    np.testing.assert_allclose(inverse, np.linalg.inv(A), **CLOSE)
    np.testing.assert_allclose(triangle, l_known, **CLOSE)
    np.testing.assert_allclose(logdet, np.linalg.slogdet(A)[1], **CLOSE)
    np.testing.assert_allclose(y, np.linalg.solve(l_known, B), **CLOSE)
    np.testing.assert_allclose(z, np.linalg.solve(l_known.conj().swapaxes(1, 2), B), **CLOSE)
    assert factors.info.tolist() == [0] * SIZE
    again = jax.vmap(linalg.cho_solve)(factors, b)
    np.testing.assert_allclose(again, np.linalg.solve(A, B), **CLOSE)


def test_a_batch_of_batches(make_mesh):
    mesh = make_mesh(4)
    a = put(A, mesh, None, "x", None)
    b = put(np.stack([B, 2 * B]), mesh)
    x = jax.vmap(jax.vmap(solve), (None, 0))(a, b)
    np.testing.assert_allclose(x, np.linalg.solve(A, np.asarray(b)), **CLOSE)
    x = jax.vmap(jax.vmap(solve, (None, 0)), (0, None))(a, b[0])
    np.testing.assert_allclose(x, np.linalg.solve(A[:, None], B), **CLOSE)


def test_one_failure_leaves_the_others_alone(make_mesh):
    mesh = make_mesh(4)
    a = put(np.stack([A[0], -A[1], A[2]]), mesh, None, "x", None)
    solve_with_info = jax.vmap(lambda a, b: linalg.solve(a, b, assume_a="pos", return_info=True))
    x, info = solve_with_info(a, put(B, mesh))
    assert info.tolist() == [0, 1, 0]
    np.testing.assert_array_equal(np.isnan(x).all((1, 2)), [False, True, False])


REAL_A = A.real + np.eye(N)
REAL_B = B[..., 0].real.copy()


def loss(solve, inverse, logdet, a, b):
    return (solve(a, b) ** 2).sum() + (inverse(a) ** 3).sum() + logdet(a)


def of_jaxmg(a, b):
    return loss(solve, lambda a: linalg.inv(a, assume_a="pos"), linalg.logdet, a, b)


def of_jnp(a, b):
    return loss(jnp.linalg.solve, jnp.linalg.inv, lambda a: jnp.linalg.slogdet(a)[1], a, b)


@pytest.mark.parametrize("order", ["vmap(grad)", "grad(vmap)"])
def test_with_derivatives(mesh, order):
    def run(function):
        if order == "vmap(grad)":
            return jax.vmap(jax.grad(function, argnums=(0, 1)))
        return jax.grad(lambda a, b: jax.vmap(function)(a, b).sum(), argnums=(0, 1))

    a, b = put(REAL_A, mesh, None, "x", None), put(REAL_B, mesh, None, None)
    for made, expected in zip(
        jax.jit(run(of_jaxmg))(a, b), jax.jit(run(of_jnp))(REAL_A, REAL_B), strict=True
    ):
        np.testing.assert_allclose(made, expected, **CLOSE)


def test_gradient_of_many_right_hand_sides(mesh):
    def run(solve, a, b):
        return jnp.sum(jax.vmap(solve, (None, 0))(a, b) ** 2)

    a, b = put(REAL_A[0], mesh, "x", None), put(REAL_B, mesh, None, None)
    made = jax.jit(jax.grad(lambda a, b: run(solve, a, b), argnums=(0, 1)))(a, b)
    solve_known = jnp.linalg.solve
    expected = jax.grad(lambda a, b: run(solve_known, a, b), argnums=(0, 1))(REAL_A[0], REAL_B)
    for value, known in zip(made, expected, strict=True):
        np.testing.assert_allclose(value, known, **CLOSE)
