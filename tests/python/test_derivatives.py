"""Derivatives to second order: agreement with differences and jax.numpy, and shardings."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jax.test_util import check_grads
from jaxmg import linalg
from systems import ROWS, gaussian, positive_definite, put


def solve(a, b):
    return linalg.solve(a, b, assume_a="pos")


def whiten(a, b):
    return linalg.solve_triangular(linalg.cho_factor(a), b)


def unwhiten(a, b):
    return linalg.cho_factor(a).solve_triangular(b, trans="C")


def transposed(a, b):
    return linalg.cho_factor(a).solve_triangular(b, trans=1)


# Each function with its jax.numpy reference.
FUNCTIONS = {
    "solve": (solve, jnp.linalg.solve),
    "cho_solve": (lambda a, b: linalg.cho_factor(a).solve(b), jnp.linalg.solve),
    "inv": (lambda a, b: linalg.inv(a, assume_a="pos") @ b, lambda a, b: jnp.linalg.inv(a) @ b),
    "cholesky": (
        lambda a, b: linalg.cholesky(a) * b[0, 0],
        lambda a, b: jnp.linalg.cholesky(a) * b[0, 0],
    ),
    "logdet": (
        lambda a, b: linalg.logdet(a) * b[0, 0].real,
        lambda a, b: jnp.linalg.slogdet(a)[1] * b[0, 0].real,
    ),
    "whiten": (whiten, lambda a, b: jnp.linalg.solve(jnp.linalg.cholesky(a), b)),
    "unwhiten": (unwhiten, lambda a, b: jnp.linalg.solve(jnp.linalg.cholesky(a).conj().T, b)),
    "transposed": (transposed, lambda a, b: jnp.linalg.solve(jnp.linalg.cholesky(a).T, b)),
}
each_function = pytest.mark.parametrize("name", FUNCTIONS)


@pytest.mark.parametrize("name", ["solve", "inv", "cholesky", "logdet", "whiten"])
@pytest.mark.numerics
def test_against_differences(make_mesh, name):
    """On a ragged matrix; the next test compares forward over reverse mode with jax.numpy."""
    sharding = NamedSharding(make_mesh(3), P())
    function, _ = FUNCTIONS[name]

    @jax.jit
    def of_hermitian(a, b):
        a = jax.lax.with_sharding_constraint((a + a.conj().T) / 2, sharding)
        return function(a, b)

    arguments = positive_definite(5, complex), gaussian((5, 2), complex)
    check_grads(of_hermitian, arguments, order=2, modes=("rev",))


def loss_of(function, a, b):
    values = function(a, b)
    weights = jnp.cos(jnp.arange(values.size, dtype=float)).reshape(values.shape)
    return jnp.sum(weights * (values.real + values.imag) + (values * values.conj()).real)


def derivatives(function, a, b):
    """Return a gradient, and its derivative in a Hermitian direction."""
    gradient = jax.grad(lambda a, b: loss_of(function, a, b), argnums=(0, 1))
    return jax.jvp(gradient, (a, b), (a / 3, b))


# (JAX 0.6 cannot transpose jnp.real on Explicit axes.)
@each_function
@pytest.mark.parametrize(("axis_type", "dtype"), [("Auto", "complex128"), ("Explicit", "float64")])
def test_like_jax_numpy(make_mesh, axis_type, name, dtype):
    mesh = make_mesh(4, axis_type=axis_type)
    a, b = positive_definite(8, dtype), gaussian((8, 2), dtype)
    function, reference = FUNCTIONS[name]
    expected = jax.jit(lambda a, b: derivatives(reference, a, b))(a, b)
    a_on = put(a, mesh, "x", None)
    made = jax.jit(lambda a, b: derivatives(function, a, b))(a_on, put(b, mesh, None, None))
    for value, known in zip(jax.tree.leaves(made), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(value, known, rtol=1e-9, atol=1e-9 * abs(known).max())
    for _, (of_a, _) in zip("ab", made, strict=True):
        assert of_a.sharding.is_equivalent_to(a_on.sharding, 2)


def test_independent_calls_do_not_wait_for_each_other(make_mesh):
    """CPU devices run them in different orders, and once waited forever after some hundred runs."""
    mesh = make_mesh(4)
    a = put(positive_definite(8, complex), mesh, "x", None)
    b = put(gaussian((8, 2), complex), mesh, None, None)
    run = jax.jit(functools.partial(derivatives, FUNCTIONS["whiten"][0]))
    for _ in range(1000):
        jax.block_until_ready(run(a, b))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outside_jit(make_mesh, dtype):
    mesh = make_mesh(4)
    a, b = positive_definite(8, dtype), gaussian((8,), dtype)
    a_on, b_on = put(a, mesh, "x", None), put(b, mesh)
    gradient = jax.grad(lambda a, b: jnp.sum(solve(a, b) ** 2), argnums=(0, 1))
    x = np.linalg.solve(a, b)
    y = np.linalg.solve(a, 2 * x)
    rtol = 1e-4 if dtype == "float32" else 1e-11
    for _ in range(2):
        of_a, of_b = gradient(a_on, b_on)
        np.testing.assert_allclose(of_a, -np.outer(y, x), rtol=rtol)
        assert of_a.dtype == a.dtype and of_a.sharding.is_equivalent_to(a_on.sharding, 2)
        np.testing.assert_allclose(of_b, y, rtol=rtol)


@pytest.mark.parametrize("spec", [("x", "y"), (None, "y"), (("y", "x"), None), ()])
def test_on_a_grid(make_mesh, axis_type, spec):
    """For any sharding of a: rows are sharded over the axes that shard it."""
    mesh = make_mesh(2, 2, axis_type=axis_type)
    a, b = positive_definite(8, "float32"), gaussian((8,), "float32")

    def loss(solve, inverse, a, b):
        return (solve(a, b) ** 2).sum() + (inverse(a) ** 2).sum()

    made = jax.jit(
        jax.grad(
            lambda a, b: loss(solve, lambda a: linalg.inv(a, assume_a="pos"), a, b), argnums=(0, 1)
        )
    )(put(a, mesh, *spec), put(b, mesh, "x"))
    expected = jax.grad(lambda a, b: loss(jnp.linalg.solve, jnp.linalg.inv, a, b), argnums=(0, 1))(
        a, b
    )
    for value, known in zip(made, expected, strict=True):
        assert value.dtype == a.dtype
        np.testing.assert_allclose(value, known, rtol=1e-4, atol=1e-4)


def test_through_a_scan_that_carries_a_factor(make_mesh, axis_type):
    mesh = make_mesh(4, axis_type=axis_type)
    a, b = positive_definite(8), gaussian((8,))

    def run(factor, solve, a, b):
        def step(carry, scale):
            kept, x = carry
            return (factor(scale * a), solve(kept, x)), solve(kept, b).sum()

        (_, x), sums = jax.lax.scan(step, (factor(a), b), jnp.arange(2.0, 5.0))
        return (x**2).sum() + (sums**2).sum()

    made = jax.jit(jax.grad(lambda a, b: run(linalg.cho_factor, linalg.cho_solve, a, b)))(
        put(a, mesh, "x", None), put(b, mesh, None)
    )
    expected = jax.grad(lambda a: run(lambda a: a, jnp.linalg.solve, a, b))(a)
    np.testing.assert_allclose(made, expected, rtol=1e-9, atol=1e-12)


def test_the_tangent_of_a_factor_is_that_of_the_matrix(make_mesh):
    mesh = make_mesh(4)
    a, da = positive_definite(8), positive_definite(8, seed=1)
    on = [put(x, mesh, "x", None) for x in (a, da)]
    factor, tangent = jax.jvp(linalg.cho_factor, on[:1], on[1:])
    np.testing.assert_array_equal(tangent.data, da)
    assert tangent.info.dtype == jax.dtypes.float0
    _, of_logdet = jax.jvp(linalg.logdet, (factor,), (tangent,))
    np.testing.assert_allclose(of_logdet, np.trace(np.linalg.solve(a, da)))


def test_of_a_matrix_that_is_not_positive_definite(make_mesh):
    a = put(-positive_definite(8), make_mesh(4), "x", None)

    def total(a):
        return sum(function(a, jnp.ones((8, 2))).sum() for function, _ in FUNCTIONS.values())

    assert np.isnan(jax.jit(jax.grad(total))(a)).any()


# --- compiled programs ------------------------------------------------------------------------


LARGE = 256
RANKS = 8


def likelihood(a, b):
    factor = linalg.cho_factor(a)
    return b @ factor.solve(b) + factor.logdet()


SCALARS = {
    "solve": lambda a, b: (solve(a, b) ** 2).sum(),
    "logdet": lambda a, b: linalg.logdet(a),
    "inv": lambda a, b: (linalg.inv(a, assume_a="pos") ** 2).sum(),
    "cholesky": lambda a, b: (linalg.cholesky(a) ** 2).sum(),
    "whiten": lambda a, b: (whiten(a, b) ** 2).sum(),
    "likelihood": likelihood,
}


def compiled(mesh, function):
    a = jax.ShapeDtypeStruct((LARGE, LARGE), float, sharding=NamedSharding(mesh, ROWS))
    b = jax.ShapeDtypeStruct((LARGE,), float, sharding=NamedSharding(mesh, P()))
    return jax.jit(function).lower(a, b)


def calls(program) -> dict:
    names = re.findall(r"jaxmg_(\w+)", program.as_text())
    return {name: names.count(name) for name in set(names) - {"roll_call"}}


@pytest.mark.parametrize(
    ("name", "axis_type"),
    [*((name, "Auto") for name in SCALARS), ("solve", "Explicit"), ("inv", "Explicit")],
)
def test_no_device_holds_a_whole_matrix(make_mesh, axis_type, name):
    mesh = make_mesh(RANKS, axis_type=axis_type)
    function = SCALARS[name]
    shard = LARGE * LARGE // RANKS

    def second(a, b):
        return jax.jvp(jax.grad(function), (a, b), (a, b))

    for derivative, most_shards in ((jax.value_and_grad(function), 6.5), (second, 14)):
        program = compiled(mesh, derivative).compile()
        # Shapes in the partitioned program are those on one device.
        shapes = re.findall(r"\b(?:f64|f32|s32|pred)\[([\d,]+)\]", program.as_text())
        largest = max(math.prod(map(int, shape.split(","))) for shape in shapes)
        assert largest <= shard
        assert program.memory_analysis().temp_size_in_bytes <= most_shards * shard * 8
        for sharding, value in zip(
            jax.tree.leaves(program.output_shardings),
            jax.tree.leaves(jax.eval_shape(derivative, *program_arguments())),
            strict=True,
        ):
            if value.ndim == 2:
                assert sharding.is_equivalent_to(NamedSharding(mesh, ROWS), 2)


def program_arguments():
    return jax.ShapeDtypeStruct((LARGE, LARGE), float), jax.ShapeDtypeStruct((LARGE,), float)


@pytest.mark.parametrize("name", ["solve", "inv", "cholesky"])
def test_no_rank_sees_a_whole_matrix(make_mesh, name):
    """In the jaxpr, operands inside shard_map are the shards of one rank."""
    mesh = make_mesh(RANKS)
    a = put(np.eye(LARGE), mesh, "x", None)
    jaxpr = jax.make_jaxpr(jax.grad(SCALARS[name]))(a, jnp.ones(LARGE))
    sizes = list(sizes_on_a_rank(jaxpr.jaxpr, inside=False))
    assert sizes and max(sizes) <= LARGE * LARGE // RANKS


def sizes_on_a_rank(jaxpr, inside):
    for equation in jaxpr.eqns:
        within = inside or equation.primitive.name == "shard_map"
        if inside:
            yield from (
                variable.aval.size
                for variable in equation.outvars
                if variable.aval.dtype == np.float64
            )
        for value in jax.tree.leaves(
            equation.params, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")
        ):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from sizes_on_a_rank(inner, within)


def test_cost_of_a_derivative(make_mesh):
    """One more solve for solve, one inverse for logdet; never a second factorisation."""
    mesh = make_mesh(RANKS)

    def gradient(name, **options):
        return calls(compiled(mesh, jax.value_and_grad(SCALARS[name], **options)).compile())

    assert calls(compiled(mesh, SCALARS["solve"]).compile()) == {"posv": 1}
    assert gradient("solve") == {"potrf": 1, "potrs": 2}
    assert gradient("logdet") == {"potrf": 1, "diagonal": 1, "potri": 1}
    # The likelihood and its gradient share a solve: XLA may merge the two.
    likelihood = gradient("likelihood")
    assert likelihood.pop("potrs") in (1, 2)
    assert likelihood == {"potrf": 1, "diagonal": 1, "potri": 1}
    assert gradient("inv") == {"potrf": 1, "potri": 1}
    # If only the right-hand side is differentiated, L is not needed.
    assert gradient("whiten", argnums=1) == {"potrf": 1, "potrs": 2}
