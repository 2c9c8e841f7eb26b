"""Derivatives of general and triangular solves, inverses and determinants agree with jax.numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from jaxmg import linalg
from systems import gaussian, put

N = 8


def triangular(**options):
    return (
        lambda a, b: linalg.solve_triangular(a, b, **options),
        lambda a, b: jax.scipy.linalg.solve_triangular(a, b, **options),
    )


def of_factor(trans, of_a):
    return (
        lambda a, b: linalg.lu_factor(a).solve(b, trans=trans),
        lambda a, b: jnp.linalg.solve(of_a(a), b),
    )


# name: (ours, by jax.numpy)
FUNCTIONS = {
    "solve": (linalg.solve, jnp.linalg.solve),
    "lu_solve": of_factor(0, lambda a: a),
    "lu_solve of the transpose": of_factor(1, lambda a: a.T),
    "lu_solve of the adjoint": of_factor(2, lambda a: a.conj().T),
    "inv": (lambda a, b: linalg.inv(a) @ b, lambda a, b: jnp.linalg.inv(a) @ b),
    "det": (lambda a, b: linalg.det(a) * b, lambda a, b: jnp.linalg.det(a) * b),
    "det of a factor": (
        lambda a, b: linalg.lu_factor(a).det() * b,
        lambda a, b: jnp.linalg.det(a) * b,
    ),
    "slogdet": (
        lambda a, b: sum(linalg.slogdet(a)) * b,
        lambda a, b: sum(jnp.linalg.slogdet(a)) * b,
    ),
    "upper": triangular(),
    "lower, transposed": triangular(lower=True, trans=1),
    "upper, adjoint, unit diagonal": triangular(trans=2, unit_diagonal=True),
    "diagonal": (
        lambda a, b: linalg.solve(a, b, assume_a="diagonal"),
        lambda a, b: b / jnp.diagonal(a)[:, None],
    ),
}


def operands(dtype, n=N):
    """Return a well-conditioned matrix that is not Hermitian, and b."""
    a, b = gaussian((n, n), dtype), gaussian((n, 2), dtype, 1)
    return (a + 3 * np.eye(n)).astype(dtype), b


def loss_of(function, a, b):
    values = function(a, b)
    weights = jnp.cos(jnp.arange(values.size, dtype=float)).reshape(values.shape)
    return jnp.sum(weights * (values.real + values.imag) + (values * values.conj()).real)


def derivatives(function, a, b):
    """Return a gradient with its directional derivative, and the gradient of the latter."""
    gradient = jax.grad(lambda a, b: loss_of(function, a, b), argnums=(0, 1))
    directions = a.T / 3, b * 2
    first = jax.jvp(gradient, (a, b), directions)

    def along(a, b):
        return jax.jvp(lambda a, b: loss_of(function, a, b), (a, b), directions)[1]

    return first, jax.grad(along, argnums=(0, 1))(a, b)


def assert_close(made, expected):
    for value, known in zip(jax.tree.leaves(made), jax.tree.leaves(expected), strict=True):
        known = np.asarray(known)
        np.testing.assert_allclose(value, known, rtol=1e-8, atol=1e-9 * abs(known).max())


# (JAX 0.6 cannot transpose jnp.real on Explicit axes.)
@pytest.mark.parametrize(
    ("name", "ranks", "axis_type", "dtype"),
    [(name, 4, "Auto", "complex128") for name in FUNCTIONS]
    + [(name, 2, "Explicit", "float64") for name in ("solve", "lu_solve", "det", "upper")],
)
def test_agreement_with_jax_numpy(make_mesh, name, ranks, axis_type, dtype):
    mesh = make_mesh(ranks, axis_type=axis_type)
    a, b = operands(dtype)
    function, reference = FUNCTIONS[name]
    expected = jax.jit(lambda a, b: derivatives(reference, a, b))(a, b)
    a_on = put(a, mesh, "x", None)
    made = jax.jit(lambda a, b: derivatives(function, a, b))(a_on, put(b, mesh, None, None))
    assert_close(made, expected)


@pytest.mark.parametrize("name", ["solve", "det", "slogdet"])
def test_third_derivatives(name):
    """Agreement with differences of second derivatives, on one device."""
    a, b = operands("float64", 3)

    def along(t):
        return loss_of(FUNCTIONS[name][0], a + t * a.T / 3, b)

    second = jax.jit(jax.grad(jax.grad(along)))
    check_grads(second, (0.1,), order=1, modes=("rev",))


def test_outside_jit(make_mesh):
    mesh = make_mesh(3)
    a, b = operands("float64")
    a_on, b_on = put(a, mesh, "x", None), put(b[:, 0], mesh)
    of_a, of_b = jax.grad(lambda a, b: jnp.sum(linalg.solve(a, b) ** 2), argnums=(0, 1))(a_on, b_on)
    x = np.linalg.solve(a, b[:, 0])
    y = np.linalg.solve(a.T, 2 * x)
    np.testing.assert_allclose(of_a, -np.outer(y, x), rtol=1e-10)
    np.testing.assert_allclose(of_b, y, rtol=1e-10)
    assert of_a.sharding.is_equivalent_to(a_on.sharding, 2)


def test_through_a_scan_that_carries_a_factor(make_mesh, axis_type):
    mesh = make_mesh(2, axis_type=axis_type)
    a, b = operands("float64")

    def run(factor, solve, a, b):
        def step(carry, scale):
            kept, x = carry
            return (factor(scale * a), solve(kept, x)), solve(kept, b).sum()

        (_, x), sums = jax.lax.scan(step, (factor(a), b), jnp.arange(2.0, 5.0))
        return (x**2).sum() + (sums**2).sum()

    gradient = jax.jit(jax.grad(lambda a, b: run(linalg.lu_factor, linalg.lu_solve, a, b)))
    made = gradient(put(a, mesh, "x", None), put(b, mesh, None, None))
    assert_close(made, jax.grad(lambda a: run(lambda a: a, jnp.linalg.solve, a, b))(a))


def test_a_gradient_factors_once(make_mesh):
    """A derivative costs one more solve, with the transposed factor."""
    a, b = operands("float64")
    gradient = jax.jit(jax.grad(lambda a, b: jnp.sum(linalg.solve(a, b) ** 2), argnums=(0, 1)))
    text = gradient.lower(put(a, make_mesh(2), "x", None), b).compile().as_text()
    calls = {name: text.count(f'"jaxmg_{name}"') for name in ("gesv", "getrf", "getrs")}
    assert calls == {"gesv": 0, "getrf": 1, "getrs": 2}


# --- determinants of singular matrices ------------------------------------------------------------


def of_rank(rank, dtype):
    return gaussian((N, rank), dtype) @ gaussian((rank, N), dtype, 1)


SINGULAR = {
    "a zero row": lambda dtype: gaussian((N, N), dtype) * (np.arange(N) != 2)[:, None],
    "a zero column": lambda dtype: gaussian((N, N), dtype) * (np.arange(N) != 2),
    "equal columns": lambda dtype: gaussian((N, N), dtype)[:, [*range(N - 1), N - 2]],
    "rank N - 1": lambda dtype: of_rank(N - 1, dtype),
    "rank N - 2": lambda dtype: gaussian((N, N), dtype) * (np.arange(N) < N - 2),
    "zero": lambda dtype: np.zeros((N, N), dtype),
}


def adjugate(a):
    """Return adj(A), computed from minors."""
    minors = [
        [np.linalg.det(np.delete(np.delete(a, i, 0), j, 1)) for i in range(len(a))]
        for j in range(len(a))
    ]
    return np.array(minors) * (-1.0) ** np.add.outer(np.arange(len(a)), np.arange(len(a)))


@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, "float64") for name in SINGULAR), ("rank N - 1", "complex128")]
)
def test_gradient_of_det_at_singular_matrices(make_mesh, name, dtype):
    a = SINGULAR[name](dtype)
    on = put(a, make_mesh(2), "x", None)
    value, gradient = jax.jit(jax.value_and_grad(lambda a: linalg.det(a).real))(on)
    # Elements of the adjugate are sums of products of N - 1 elements, and have their errors.
    bound = 100 * N * np.finfo(float).eps * max(1, np.abs(a).max()) ** (N - 1)
    assert abs(value) <= bound
    np.testing.assert_allclose(np.asarray(gradient).T, adjugate(a), rtol=0, atol=10 * bound)


def test_gradient_of_det_of_order_one(make_mesh):
    gradient = jax.grad(linalg.det)(put(np.zeros((1, 1)), make_mesh(1)))
    np.testing.assert_allclose(gradient, [[1.0]])
