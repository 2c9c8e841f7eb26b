"""Applications of factors: Gaussian processes, natural gradients, shifted matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jaxmg import linalg
from systems import ROWS, assert_factor, assert_solves, gaussian, positive_definite, put

RANKS = 4

# --- a Gaussian process -----------------------------------------------------------------------

POINTS = 48
X = np.linspace(0.0, 4.0, POINTS)
Y = np.sin(3 * X) + 0.1 * gaussian((POINTS,))
START = {"length": jnp.log(0.5), "scale": jnp.log(1.5), "noise": jnp.log(0.2)}


def kernel(theta, x=X):
    distance = (x[:, None] - x[None, :]) / jnp.exp(theta["length"])
    smooth = jnp.exp(2 * theta["scale"] - distance**2 / 2)
    return smooth + jnp.exp(2 * theta["noise"]) * jnp.eye(POINTS)


def negative_log_likelihood(theta, factor, solve, logdet, x):
    kept = factor(kernel(theta, x))
    return (Y @ solve(kept, Y) + logdet(kept) + POINTS * np.log(2 * np.pi)) / 2


def on_one_device(theta, x):
    return negative_log_likelihood(
        theta, lambda k: k, jnp.linalg.solve, lambda k: jnp.linalg.slogdet(k)[1], x
    )


def factor_over_devices(k):
    factor = linalg.cho_factor(k)
    assert factor.ranks == RANKS
    return factor


def over_devices(theta, x):
    return negative_log_likelihood(theta, factor_over_devices, linalg.cho_solve, linalg.logdet, x)


def fit(loss, x, optimizer, steps):
    """Return the loss at each step, and the parameters after the last one."""

    @jax.jit
    def step(theta, state, x):
        def loss_of(theta):
            return loss(theta, x)

        value, gradient = jax.value_and_grad(loss_of)(theta)
        update, state = optimizer.update(
            gradient, state, theta, value=value, grad=gradient, value_fn=loss_of
        )
        return optax.apply_updates(theta, update), state, value

    theta, values = START, []
    state = optimizer.init(theta)
    for _ in range(steps):
        theta, state, value = step(theta, state, x)
        values.append(float(value))
    return np.array(values), jax.tree.map(float, theta)


@pytest.mark.parametrize(
    ("optimizer", "steps"),
    [(optax.with_extra_args_support(optax.adam(0.05)), 5), (optax.lbfgs(), 3)],
    ids=["adam", "lbfgs"],
)
def test_marginal_likelihood(make_mesh, optimizer, steps):
    x = put(X, make_mesh(RANKS), "x")  # The rows of the kernel matrix are sharded like x.
    values, theta = fit(over_devices, x, optimizer, steps)
    expected_values, expected_theta = fit(on_one_device, X, optimizer, steps)
    np.testing.assert_allclose(values, expected_values, rtol=1e-8)
    assert values[-1] < values[0]
    for name, value in expected_theta.items():
        np.testing.assert_allclose(theta[name], value, rtol=1e-6, atol=1e-8)


def test_samples_have_the_covariance_of_the_kernel(make_mesh):
    """L z for white z; whitening with L gives z back."""
    covariance = put(np.asarray(kernel(START)), make_mesh(RANKS), "x", None)
    z = gaussian((POINTS, 3))
    factor = linalg.cho_factor(covariance)
    samples = factor.lower() @ z
    condition = np.linalg.cond(np.asarray(factor.lower()))
    bound = 10 * POINTS * np.finfo(float).eps * condition * np.linalg.norm(z)
    assert np.linalg.norm(factor.solve_triangular(samples) - z) <= bound


# --- stochastic reconfiguration ---------------------------------------------------------------

SAMPLES, PARAMETERS = 24, 40


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("which", ["SR", "MinSR"])
def test_natural_gradient(make_mesh, dtype, which):
    """SR solves with the shifted Gram matrix of the parameters, MinSR with that of the samples."""
    mesh = make_mesh(RANKS)
    rows = NamedSharding(mesh, ROWS)
    jacobian, target = gaussian((SAMPLES, PARAMETERS), dtype), gaussian((SAMPLES,), dtype)
    shift = 1e-2

    @jax.jit
    def train(theta, jacobian):
        def step(theta, _):
            o = jacobian - jacobian.mean(0)
            e = o @ theta - target
            gram = o.conj().T @ o if which == "SR" else o @ o.conj().T
            gram = gram + shift * jnp.eye(len(gram), dtype=gram.dtype)
            gram = jax.lax.with_sharding_constraint(gram, rows)
            if which == "SR":
                update = linalg.solve(gram, o.conj().T @ e, assume_a="pos")
            else:
                update = o.conj().T @ linalg.solve(gram, e, assume_a="pos")
            return theta - 0.5 * update, jnp.linalg.norm(e)

        return jax.lax.scan(step, theta, None, length=4)

    theta, errors = train(jnp.zeros(PARAMETERS, dtype), put(jacobian, mesh, "x", None))
    o, expected = jacobian - jacobian.mean(0), np.zeros(PARAMETERS, dtype)
    for _ in range(4):
        gram = o.conj().T @ o + shift * np.eye(PARAMETERS)
        expected = expected - 0.5 * np.linalg.solve(gram, o.conj().T @ (o @ expected - target))
    np.testing.assert_allclose(theta, expected, rtol=1e-7, atol=1e-9)
    assert errors[-1] < errors[0]


# --- a shift ----------------------------------------------------------------------------------

N = 16
A = positive_definite(N)


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_positive_definite_matrix_is_not_shifted(make_mesh, axis_type, jit):
    mesh = make_mesh(RANKS, axis_type=axis_type)
    call = jax.jit(linalg.cho_factor_shifted) if jit else linalg.cho_factor_shifted
    factor, shift = call(put(A, mesh, "x", None))
    assert shift == 0 and factor.info == 0
    assert_factor(A, np.asarray(factor.lower()))


@pytest.mark.parametrize("n", [N, 13])
@pytest.mark.parametrize("dtype", ["float64", "complex64"])
def test_first_sufficient_shift_is_returned(make_mesh, axis_type, n, dtype):
    values = np.arange(1.0, n + 1)
    values[n // 2] = -0.05
    a = np.diag(values).astype(dtype)
    on = put(a, make_mesh(RANKS, axis_type=axis_type), "x", None)
    factor, shift = jax.jit(lambda a: linalg.cho_factor_shifted(a, shift=1e-3))(on)
    np.testing.assert_allclose(shift, 0.1, rtol=1e-6)
    assert factor.info == 0 and shift.dtype == np.finfo(dtype).dtype
    assert_solves(a + shift * np.eye(n, dtype=dtype), factor.solve(a[:, 0]), a[:, 0])


def test_default_shift(make_mesh):
    """A matrix of rank one is indefinite only through rounding."""
    u = gaussian((N, 1))
    a = put(u @ u.T, make_mesh(RANKS), "x", None)
    factor, shift = linalg.cho_factor_shifted(a)
    least = N * np.finfo(float).eps * np.mean(u**2)
    assert factor.info == 0 and 0 < shift <= 1e3 * least


def test_failure_after_max_tries(make_mesh):
    on = put(-A, make_mesh(RANKS), "x", None)
    factor, shift = linalg.cho_factor_shifted(on, shift=1e-8, growth=2, max_tries=3)
    np.testing.assert_allclose(shift, 4e-8)
    assert factor.info == 1 and np.isnan(factor.solve(np.ones(N))).all()


def test_shift_is_constant_under_differentiation(make_mesh):
    a = np.diag(np.r_[-0.05, np.arange(2.0, N + 1)])
    on = put(a, make_mesh(RANKS), "x", None)

    def loss(a):
        factor, shift = linalg.cho_factor_shifted(a, shift=0.1)
        return factor.logdet() + shift

    made = jax.jit(jax.grad(loss))(on)
    np.testing.assert_allclose(made, np.linalg.inv(a + 0.1 * np.eye(N)), rtol=1e-12, atol=1e-12)


def test_custom_shift_loop(make_mesh):
    """A loop around cho_factor, with the factor in its state."""
    mesh = make_mesh(RANKS)

    @jax.jit
    def factor_of(a):
        def attempt(state):
            shift, _ = state
            shifted = jax.lax.with_sharding_constraint(
                a + 10 * shift * jnp.eye(N), NamedSharding(mesh, P("x", None))
            )
            return 10 * shift, linalg.cho_factor(shifted)

        return jax.lax.while_loop(
            lambda state: state[1].info != 0, attempt, (1e-4, linalg.cho_factor(a))
        )

    shift, factor = factor_of(put(np.diag(np.r_[-0.5, np.ones(N - 1)]), mesh, "x", None))
    np.testing.assert_allclose(shift, 1.0)
    assert factor.info == 0
