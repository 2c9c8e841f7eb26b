"""Derivatives of eigenvalues, eigenvectors and functions of a matrix: values and shardings."""

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
from systems import ROWS, gaussian, hermitian, positive_definite, put

# Multiplied with a vector, an eigenvector's modulus does not depend on its phase.


def moduli(v, b):
    return abs_squared(v.conj().T @ b)


def abs_squared(x):
    return (x * x.conj()).real


def generalised(a, b):
    l_inverse = jnp.linalg.inv(jnp.linalg.cholesky(b @ b.conj().T + jnp.eye(len(b))))
    w, v = jnp.linalg.eigh(l_inverse @ a @ l_inverse.conj().T)
    return w, l_inverse.conj().T @ v


def with_b(a, b):
    identity = jnp.eye(b.shape[0], dtype=b.dtype)
    return linalg.eigh(a, positive(b) + identity)


def with_factor_of_b(a, b):
    identity = jnp.eye(b.shape[0], dtype=b.dtype)
    return linalg.eigh(a, linalg.cho_factor(positive(b) + identity))


def positive(b):
    return jnp.matmul(b, b.conj().T)


# Functions of a Hermitian matrix and a second one, each with its jax.numpy reference.
FUNCTIONS = {
    "eigh": (
        lambda a, b: [(w, moduli(v, b)) for w, v in [linalg.eigh(a)]],
        lambda a, b: [(w, moduli(v, b)) for w, v in [jnp.linalg.eigh(a)]],
    ),
    "eigvalsh": (lambda a, b: linalg.eigvalsh(a), lambda a, b: jnp.linalg.eigvalsh(a)),
    "by index": (
        lambda a, b: [(w, moduli(v, b)) for w, v in [linalg.eigh(a, subset_by_index=(1, 4))]],
        lambda a, b: [(w[1:5], moduli(v[:, 1:5], b)) for w, v in [jnp.linalg.eigh(a)]],
    ),
    "by value": (
        lambda a, b: [
            (w[:2], moduli(v[:, :2], b))
            for w, v, _ in [linalg.eigh(a, subset_by_value=(0.0, np.inf), size=4)]
        ],
        lambda a, b: [
            (jnp.take(w, first + jnp.arange(2)), moduli(v[:, first + jnp.arange(2)], b))
            for w, v in [jnp.linalg.eigh(a)]
            for first in [jnp.sum(w <= 0)]
        ],
    ),
    "generalised": (
        lambda a, b: [(w, moduli(v, b)) for w, v in [with_b(a, b)]],
        lambda a, b: [(w, moduli(v, b)) for w, v in [generalised(a, b)]],
    ),
    "factor of b": (
        lambda a, b: [(w, moduli(v, b)) for w, v in [with_factor_of_b(a, b)]],
        lambda a, b: [(w, moduli(v, b)) for w, v in [generalised(a, b)]],
    ),
    "pinvh": (lambda a, b: linalg.pinvh(a), lambda a, b: jnp.linalg.inv(a)),
    "sqrtm_h": (
        lambda a, b: linalg.sqrtm_h(positive(a)),
        lambda a, b: [
            (v * jnp.sqrt(w)) @ v.conj().T for w, v in [jnp.linalg.eigh(positive(a))]
        ],
    ),
}  # fmt: skip


def loss_of(function, a, b):
    total = 0.0
    for number, values in enumerate(jax.tree.leaves(function((a + a.conj().T) / 2, b))):
        weights = jnp.cos(jnp.arange(values.size, dtype=float) + number).reshape(values.shape)
        total += jnp.sum(weights * (values.real + values.imag))
    return total


def derivatives(function, a, b):
    """Return a gradient, and its derivative in a direction."""
    gradient = jax.grad(lambda a, b: loss_of(function, a, b), argnums=(0, 1))
    return jax.jvp(gradient, (a, b), (a @ a, b))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_like_jax_numpy(make_mesh, name):
    """On a ragged complex matrix; below there are real ones, in even shards."""
    dtype, ranks, n = "complex128", 3, 7
    mesh = make_mesh(ranks)
    a, b = hermitian(n, dtype), gaussian((n, n), dtype, seed=1)
    function, reference = FUNCTIONS[name]
    expected = jax.jit(lambda a, b: derivatives(reference, a, b))(a, b)
    a_on, b_on = put(a, mesh, "x", None), put(b, mesh)
    made = jax.jit(lambda a, b: derivatives(function, a, b))(a_on, b_on)
    for value, known in zip(jax.tree.leaves(made), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(value, known, rtol=1e-8, atol=1e-8 * (abs(known).max() + 1))


@pytest.mark.parametrize("name", ["eigh", "by index", "pinvh", "sqrtm_h"])
def test_on_explicit_axes(make_mesh, name):
    """To first order, without the functions that only trace with Auto axes."""
    mesh = make_mesh(4, axis_type="Explicit")
    a, da = positive_definite(8), hermitian(8, seed=1)
    known = {
        "eigh": lambda a: abs_squared(jnp.linalg.eigh(a)[1]),
        "by index": lambda a: abs_squared(jnp.linalg.eigh(a)[1][:, 1:5]),
        "pinvh": jnp.linalg.inv,
        "sqrtm_h": lambda a: [(v * w**0.5) @ v.T for w, v in [jnp.linalg.eigh(a)]][0],
    }[name]
    made = {
        "eigh": lambda a: abs_squared(linalg.eigh(a)[1]),
        "by index": lambda a: abs_squared(linalg.eigh(a, subset_by_index=(1, 4))[1]),
        "pinvh": linalg.pinvh,
        "sqrtm_h": linalg.sqrtm_h,
    }[name]
    on = put(a, mesh, "x", None), put(da, mesh, "x", None)
    _, tangent = jax.jit(lambda a, da: jax.jvp(made, (a,), (da,)))(*on)
    np.testing.assert_allclose(tangent, jax.jvp(known, (a,), (da,))[1], atol=1e-9)
    gradient = jax.jit(jax.grad(lambda a: jnp.sum(jnp.sin(made(a)))))(on[0])
    assert gradient.sharding.is_equivalent_to(on[0].sharding, 2)
    expected = jax.grad(lambda a: jnp.sum(jnp.sin(known((a + a.T) / 2))))(a)
    np.testing.assert_allclose(gradient, expected, atol=1e-9)


@pytest.mark.parametrize("name", ["generalised", "sqrtm_h"])
def test_against_differences(make_mesh, name):
    sharding = NamedSharding(make_mesh(3), P())
    function, _ = FUNCTIONS[name]

    @jax.jit
    def loss(a, b):
        return loss_of(function, jax.lax.with_sharding_constraint(a, sharding), b)

    arguments = hermitian(5), gaussian((5, 5), seed=1)
    check_grads(loss, arguments, order=2, modes=("rev",), eps=1e-5, rtol=1e-3, atol=1e-3)


def test_outside_jit_and_under_vmap(make_mesh):
    mesh = make_mesh(4)
    stack = np.stack([hermitian(8, seed=seed) for seed in range(2)])

    def loss(linalg, a):
        return jnp.sum(jnp.sin(linalg.eigvalsh(a)))

    gradient = jax.grad(lambda a: loss(linalg, a))
    expected = [jax.grad(lambda a: loss(jnp.linalg, a))(a) for a in stack]
    on = put(stack[0], mesh, "x", None)
    made = gradient(on)
    np.testing.assert_allclose(made, expected[0], atol=1e-10)
    assert made.sharding.is_equivalent_to(on.sharding, 2)
    made = jax.jit(jax.vmap(gradient))(put(stack, mesh, None, "x", None))
    np.testing.assert_allclose(made, expected, atol=1e-10)


def test_equal_eigenvalues(make_mesh):
    """Derivatives of eigenvalues and matrix functions are finite, of eigenvectors they are not."""
    mesh = make_mesh(4)
    identity = put(np.eye(8), mesh, "x", None)
    da = hermitian(8)

    def in_direction(function, a=identity):
        return jax.jvp(function, (a,), (put(da, mesh, "x", None),))[1]

    tangent = in_direction(lambda a: linalg.eigvalsh(a).sum())
    np.testing.assert_allclose(tangent, np.trace(da))
    np.testing.assert_allclose(in_direction(linalg.sqrtm_h), da / 2, atol=1e-14)
    np.testing.assert_allclose(in_direction(linalg.pinvh), -da, atol=1e-14)
    assert not np.isfinite(in_direction(lambda a: linalg.eigh(a)[1])).all()
    assert not np.isfinite(jax.jvp(lambda a: jnp.linalg.eigh(a)[1], (np.eye(8),), (da,))[1]).all()


def test_of_a_singular_matrix(make_mesh):
    """Among matrices of rank 3, G(t) G(t)^H, the pseudo-inverse is a differentiable function."""
    mesh = make_mesh(4)
    g, dg = gaussian((8, 3)), gaussian((8, 3), seed=1)

    def reference(g):
        inner = jnp.linalg.inv(g.T @ g)
        return g @ inner @ inner @ g.T

    def of_g(function):
        def call(g):
            return function(jax.lax.with_sharding_constraint(g @ g.T, NamedSharding(mesh, ROWS)))

        return jax.jit(lambda g, dg: jax.jvp(call, (g,), (dg,)))(g, dg)

    value, tangent = of_g(lambda a: linalg.pinvh(a, rtol=1e-10))
    known, known_tangent = jax.jvp(reference, (g,), (dg,))
    np.testing.assert_allclose(value, known, atol=1e-10)
    np.testing.assert_allclose(tangent, known_tangent, atol=1e-8)

    root, tangent = of_g(linalg.sqrtm_h)
    np.testing.assert_allclose(root @ root, g @ g.T, atol=1e-13)
    np.testing.assert_allclose(root @ tangent + tangent @ root, g @ dg.T + dg @ g.T, atol=1e-6)


# --- compiled programs ------------------------------------------------------------------------

LARGE = 256
RANKS = 8

SCALARS = {
    "eigvalsh": lambda a: jnp.sum(linalg.eigvalsh(a) ** 3),
    "eigh": lambda a: jnp.sum(linalg.eigh(a)[1] ** 4),
    "by index": lambda a: jnp.sum(linalg.eigh(a, subset_by_index=(0, 31))[1] ** 4),
    "by value": lambda a: jnp.sum(linalg.eigh(a, subset_by_value=(0.0, 1.0), size=64)[1] ** 4),
    "generalised": lambda a: jnp.sum(linalg.eigh(a, a)[1] ** 4),
    "pinvh": lambda a: jnp.sum(linalg.pinvh(a) ** 3),
    "sqrtm_h": lambda a: jnp.sum(linalg.sqrtm_h(a) ** 3),
}


@pytest.mark.parametrize("name", SCALARS)
def test_no_device_holds_a_whole_matrix(make_mesh, name):
    mesh = make_mesh(RANKS)
    shard = LARGE * LARGE // RANKS
    sharding = NamedSharding(mesh, ROWS)
    a = jax.ShapeDtypeStruct((LARGE, LARGE), float, sharding=sharding)
    program = jax.jit(jax.value_and_grad(SCALARS[name])).lower(a).compile()
    # Shapes in the partitioned program are those on one device.
    shapes = re.findall(r"\b(?:f64|f32|s32|s64|pred)\[([\d,]+)\]", program.as_text())
    largest = max(math.prod(map(int, shape.split(","))) for shape in shapes)
    assert largest <= shard
    assert program.output_shardings[1].is_equivalent_to(sharding, 2)
    eigensolvers = program.as_text().count('custom_call_target="jaxmg_syevd"')
    assert eigensolvers == 1
