"""Every JAX transformation of every function, compared with ``jax.numpy``."""

import contextlib
import functools
import itertools

import jax
import jax.numpy as jnp
import jaxmg.lineax
import lineax
import numpy as np
import pytest
from functions import FUNCTIONS, as_hermitian, weighted
from jaxmg import linalg
from systems import ROWS, gaussian, pairwise, positive_definite, put, set_mesh

N = 4
A, B = positive_definite(N), gaussian((N, 2), seed=7)
DA, DB = gaussian((N, N), seed=8), gaussian((N, 2), seed=9)


def close(got, wanted):
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        other = np.asarray(other)
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-8 * max(1, np.abs(other).max()))


@pytest.fixture
def operands(make_mesh):
    mesh = make_mesh(2)
    return put(A, mesh, *ROWS), put(B, mesh)


def of(function):
    """Return a function of a matrix that need not be Hermitian."""
    return lambda a, b: function(as_hermitian(a), b)


def with_custom_vjp(function):
    @jax.custom_vjp
    def run(a, b):
        return function(a, b)

    def forward(a, b):
        value, pullback = jax.vjp(function, a, b)
        return value, pullback

    run.defvjp(forward, lambda pullback, g: pullback(g))
    return run


def batches(a, b):
    """Return four pairs of operands, in two groups of two."""
    scales = jnp.arange(1.0, 5.0).reshape(2, 2, 1, 1)
    return scales * a, (5 - scales) * b


def nested(function):
    return lambda a, b: jax.vmap(jax.vmap(function))(*batches(a, b))


# name: the transformation of a function of a and b.
TRANSFORMATIONS = {
    "jvp": lambda f: lambda a, b: jax.jvp(f, (a, b), (DA, DB)),
    "linearize": lambda f: lambda a, b: jax.linearize(f, a, b)[1](DA, DB),
    "vjp": lambda f: lambda a, b: jax.vjp(f, a, b)[1](jnp.ones(())),
    "hessian": lambda f: (
        lambda a, b: jax.hessian(lambda t: f(a + t[0] * DA, b + t[1] * DB))(jnp.zeros(2))
    ),
    "checkpoint": lambda f: jax.grad(jax.checkpoint(f), argnums=(0, 1)),
    "custom_vjp": lambda f: jax.grad(with_custom_vjp(f), argnums=(0, 1)),
    "nested vmap": nested,
    "gradient of nested vmap": lambda f: jax.value_and_grad(
        lambda a, b: (nested(f)(a, b) * (1 + jnp.arange(4.0).reshape(2, 2))).sum(), (0, 1)
    ),
}
# Transformations that use every rule run for every function; JAX derives the others from these, and
# they run for one function of each kind. Gradients without vmap are also in test_vma.py.
OF_EVERY_FUNCTION = ("jvp", "gradient of nested vmap")
OF_EVERY_KIND = ("solve", "cho_solve", "cholesky", "eigh", "eigvalsh of a and a shared matrix")


@pytest.mark.parametrize(
    ("name", "transformation"),
    [
        (name, transformation)
        for name in FUNCTIONS
        for transformation in TRANSFORMATIONS
        if name in OF_EVERY_KIND or transformation in OF_EVERY_FUNCTION
    ],
)
def test_derivatives_and_batches(operands, name, transformation):
    ours, by_jnp = (TRANSFORMATIONS[transformation](of(f)) for f in FUNCTIONS[name])
    close(jax.jit(ours)(*operands), jax.jit(by_jnp)(A, B))


LINEAR = {
    "general": linalg.solve,
    "lu_solve": lambda a, b: linalg.lu_solve(linalg.lu_factor(a), b),
    "lu_solve adjoint": lambda a, b: linalg.lu_solve(linalg.lu_factor(a), b, 2),
    "triangular": lambda a, b: linalg.solve_triangular(a, b),
    "solve": lambda a, b: linalg.solve(a, b, assume_a="pos"),
    "cho_solve": lambda a, b: linalg.cho_solve(linalg.cho_factor(a), b),
    "solve_triangular": lambda a, b: linalg.solve_triangular(linalg.cho_factor(a), b),
    "solve_triangular adjoint": lambda a, b: linalg.solve_triangular(
        linalg.cho_factor(a), b, trans="C"
    ),
}


@pytest.mark.parametrize(("dtype", "axis_type", "inside"), pairwise(["float64", "complex128"]))
@pytest.mark.parametrize("name", LINEAR)
def test_linear_transpose(make_mesh, axis_type, name, dtype, inside):
    """The transpose of b -> M b is ct -> M^T ct."""
    if jax.__version_info__ < (0, 7) and axis_type == "Explicit" and dtype == "complex128":
        pytest.skip("JAX 0.6 cannot transpose complex(b.real, b.imag) on Explicit axes")
    a, b = positive_definite(N, dtype), gaussian((N, 2), dtype, 3)
    mesh = make_mesh(2, axis_type=axis_type)
    placed, there = put(a, mesh, *ROWS), put(b, mesh)
    lower = np.linalg.cholesky(a)
    matrix = {
        "solve_triangular": lower,
        "solve_triangular adjoint": lower.conj().T,
        "lu_solve adjoint": a.conj().T,
        "triangular": np.triu(a),
    }.get(name, a)

    def transposed(a, ct):
        return jax.linear_transpose(functools.partial(LINEAR[name], a), there)(ct)[0]

    run = jax.jit(transposed) if inside else transposed
    np.testing.assert_allclose(run(placed, there), np.linalg.solve(matrix.T, b), rtol=1e-10)


def test_vmap_over_right_hand_sides_makes_no_batch_of_factors(operands):
    """The solve factors one matrix, not a batch."""
    many = np.stack([B] * 3)
    solve = jax.jit(jax.vmap(LINEAR["solve"], (None, 0)))
    assert f"[3,{N},{N}]" not in solve.lower(operands[0], many).compile().as_text()
    np.testing.assert_allclose(solve(operands[0], many), np.linalg.solve(A, many), rtol=1e-10)


def test_vmap_with_spmd_axis_name_says_why_it_cannot_work(make_mesh):
    """The matrix is sharded over all axes of the mesh; no axis is left for the batch."""
    mesh = make_mesh(2, 2)
    a, b = (np.asarray(x).reshape(4, N, -1) for x in batches(A, B))
    placed = put(a, mesh, "y", "x", None), put(b, mesh, "y", None, None)
    with pytest.raises(ValueError, match="spmd_axis_name .* cannot appear"):
        jax.jit(jax.vmap(LINEAR["solve"], spmd_axis_name="y"))(*placed)


@pytest.mark.parametrize(
    ("name", "axis_type"),
    list(zip(FUNCTIONS, itertools.cycle(["Auto", "Explicit"]))),
)
def test_operands_that_a_program_closes_over(operands, axis_type, name):
    ours, by_jnp = FUNCTIONS[name]
    mesh = operands[0].sharding.mesh
    mesh = jax.sharding.Mesh(
        mesh.devices, mesh.axis_names, axis_types=(getattr(jax.sharding.AxisType, axis_type),)
    )
    a, b = put(A, mesh, *ROWS), put(B, mesh)
    # On Explicit axes JAX takes the devices from the context.
    entered = set_mesh(mesh) if axis_type == "Explicit" else contextlib.nullcontext()
    inner = jax.jit(lambda scale: ours(scale * a, b))
    with entered:
        value = jax.jit(lambda scale: inner(scale) + ours(a, scale * b))(2.0)
    close(value, by_jnp(2 * A, B) + by_jnp(A, 2 * B))


def test_operators_of_lineax_that_a_program_closes_over(operands):
    a, b = operands
    operator = lineax.MatrixLinearOperator(a, lineax.positive_semidefinite_tag)
    solver = jaxmg.lineax.Cholesky()

    @jax.jit
    def run(b):
        return lineax.linear_solve(operator, b, solver).value

    np.testing.assert_allclose(run(b[:, 0]), np.linalg.solve(A, B[:, 0]), rtol=1e-10)
    gradient = jax.grad(lambda b: weighted(run(b)))(b[:, 0])
    wanted = jax.grad(lambda b: weighted(jnp.linalg.solve(A, b)))(B[:, 0])
    np.testing.assert_allclose(gradient, wanted, rtol=1e-8)
