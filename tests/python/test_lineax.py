"""The solvers of jaxmg.lineax satisfy Lineax's contract of a solver."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import assert_solves, gaussian, positive_definite, put

lx = pytest.importorskip("lineax")

from jaxmg.lineax import LU, SVD, AutoLinearSolver, Cholesky  # noqa: E402

N = 12
POSITIVE, NEGATIVE = lx.positive_semidefinite_tag, lx.negative_semidefinite_tag


def operator_on(mesh, a, tag=POSITIVE):
    return lx.MatrixLinearOperator(put(a, mesh, "x", None), tag)


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("tag", [POSITIVE, NEGATIVE], ids=["positive", "negative"])
def test_solve(make_mesh, jit, dtype, tag):
    mesh = make_mesh(4)
    a, b = positive_definite(N, dtype), gaussian((N,), dtype)
    a = a if tag is POSITIVE else -a

    def solve(a, b):
        return lx.linear_solve(lx.MatrixLinearOperator(a, tag), b, Cholesky(tile=2)).value

    x = (jax.jit(solve) if jit else solve)(put(a, mesh, "x", None), put(b, mesh))
    assert_solves(a, x, b)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("tag", [POSITIVE, NEGATIVE], ids=["positive", "negative"])
def test_states(make_mesh, dtype, tag):
    """init and compute; the states from transpose and conj, alone and composed."""
    a, b = positive_definite(N, dtype), gaussian((N,), dtype)
    a = a if tag is POSITIVE else -a
    solver = Cholesky()
    state = solver.init(operator_on(make_mesh(4), a, tag), {})
    transposed, _ = solver.transpose(state, {})
    conjugate, _ = solver.conj(state, {})
    both, _ = solver.conj(transposed, {})
    for of, matrix in ((state, a), (transposed, a.T), (conjugate, a.conj()), (both, a)):
        x, result, statistics = solver.compute(of, jnp.asarray(b), {})
        assert_solves(matrix, x, b)
        assert result == lx.RESULTS.successful and isinstance(statistics, dict)
    assert solver.assume_full_rank()


def test_a_state_is_used_again(make_mesh):
    a = positive_definite(N)
    operator, solver = operator_on(make_mesh(4), a), Cholesky()
    state = solver.init(operator, {})
    for seed in range(3):
        b = gaussian((N,), seed=seed)
        x = lx.linear_solve(operator, jnp.asarray(b), solver, state=state).value
        assert_solves(a, x, b)


def test_structured_vectors(make_mesh):
    a = positive_definite(N)
    inputs = {"u": jnp.asarray(gaussian((5,))), "v": jnp.asarray(gaussian((7,), seed=1))}

    def product(x):
        y = a @ jnp.concatenate([x["u"], x["v"]])
        return {"u": y[:5], "v": y[5:]}

    structure = jax.eval_shape(lambda: inputs)
    operator = lx.FunctionLinearOperator(product, structure, POSITIVE)
    x = lx.linear_solve(operator, inputs, Cholesky()).value
    b = np.concatenate([inputs["u"], inputs["v"]])
    assert_solves(a, np.concatenate([x["u"], x["v"]]), b)


def test_derivatives(make_mesh):
    mesh = make_mesh(4)
    a, b = positive_definite(N), gaussian((N,))

    def loss(solver, a, b):
        operator = lx.MatrixLinearOperator(a, POSITIVE)
        return (lx.linear_solve(operator, b, solver).value ** 2).sum()

    def gradient(solver):
        return jax.jit(jax.grad(lambda a, b: loss(solver, a, b), argnums=(0, 1)))

    made = gradient(Cholesky())(put(a, mesh, "x", None), put(b, mesh))
    expected = gradient(lx.Cholesky())(a, b)
    for value, known in zip(made, expected, strict=True):
        np.testing.assert_allclose(value, known, rtol=1e-9, atol=1e-12)


def test_singular(make_mesh):
    operator = operator_on(make_mesh(4), np.diag(np.r_[np.ones(N - 1), -1.0]))
    solution = lx.linear_solve(operator, jnp.ones(N), Cholesky(), throw=False)
    assert solution.result == lx.RESULTS.singular and np.isnan(solution.value).all()


def test_an_operator_without_tag(make_mesh):
    operator = lx.MatrixLinearOperator(put(positive_definite(N), make_mesh(4), "x", None))
    with pytest.raises(ValueError, match="tagged as positive or negative"):
        lx.linear_solve(operator, jnp.ones(N), Cholesky())


# --- general operators ----------------------------------------------------------------------------


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("solver", [LU(tile=2), AutoLinearSolver(tile=2)], ids=["LU", "auto"])
def test_solve_with_lu(make_mesh, jit, solver):
    mesh = make_mesh(4)
    a, b = gaussian((N, N), complex), gaussian((N,), complex)

    def solve(a, b):
        return lx.linear_solve(lx.MatrixLinearOperator(a), b, solver).value

    x = (jax.jit(solve) if jit else solve)(put(a, mesh, "x", None), put(b, mesh))
    np.testing.assert_allclose(x, np.linalg.solve(a, b), rtol=1e-10)


@pytest.mark.parametrize("solver", [LU(), AutoLinearSolver()], ids=["LU", "auto"])
def test_states_of_lu(make_mesh, solver):
    a, b = gaussian((N, N), complex), gaussian((N,), complex)
    operator = lx.MatrixLinearOperator(put(a, make_mesh(4), "x", None))
    state = solver.init(operator, {})
    transposed, _ = solver.transpose(state, {})
    conjugate, _ = solver.conj(state, {})
    both, _ = solver.conj(transposed, {})
    for of, matrix in ((state, a), (transposed, a.T), (conjugate, a.conj()), (both, a.conj().T)):
        x, result, _ = solver.compute(of, jnp.asarray(b), {})
        np.testing.assert_allclose(x, np.linalg.solve(matrix, b), rtol=1e-10)
        assert result == lx.RESULTS.successful
    assert solver.assume_full_rank()


def test_spaces_of_different_structure(make_mesh):
    """Input and output structures differ, and are swapped by transposition."""
    a, b = gaussian((N, N)), jnp.asarray(gaussian((N,), seed=1))

    def product(x):
        return a @ jnp.concatenate([x["u"], x["v"].ravel()])

    x = {"u": b[:5], "v": jnp.zeros((1, 7))}
    operator = lx.FunctionLinearOperator(product, jax.eval_shape(lambda: x))
    made = lx.linear_solve(operator, b, LU()).value
    assert jax.tree.map(jnp.shape, made) == jax.tree.map(jnp.shape, x)
    known = np.linalg.solve(a, b)
    np.testing.assert_allclose(np.r_[made["u"], made["v"].ravel()], known, rtol=1e-10)
    gradient = jax.grad(lambda b: lx.linear_solve(operator, b, LU()).value["u"].sum())(b)
    unit = np.r_[np.ones(5), np.zeros(7)]
    np.testing.assert_allclose(gradient, np.linalg.solve(a.T, unit), rtol=1e-10)


@pytest.mark.parametrize("solver", [LU(), AutoLinearSolver()], ids=["LU", "auto"])
def test_derivatives_by_lu(make_mesh, solver):
    mesh = make_mesh(4)
    a, b = gaussian((N, N)), gaussian((N,))

    def loss(solver, a, b):
        operator = lx.MatrixLinearOperator(a)
        return (lx.linear_solve(operator, b, solver).value ** 2).sum()

    def gradient(solver):
        return jax.jit(jax.grad(lambda a, b: loss(solver, a, b), argnums=(0, 1)))

    made = gradient(solver)(put(a, mesh, "x", None), put(b, mesh))
    expected = gradient(lx.LU())(a, b)
    for value, known in zip(made, expected, strict=True):
        np.testing.assert_allclose(value, known, rtol=1e-8, atol=1e-9 * np.abs(known).max())


def test_zero_pivot_is_reported(make_mesh):
    operator = lx.MatrixLinearOperator(put(np.diag(np.arange(N) * 1.0), make_mesh(4), "x", None))
    solution = lx.linear_solve(operator, jnp.ones(N), LU(), throw=False)
    assert solution.result == lx.RESULTS.singular


@pytest.mark.parametrize(
    ("tags", "solver"),
    [
        ((), LU),
        (lx.symmetric_tag, LU),
        (lx.lower_triangular_tag, LU),
        (POSITIVE, Cholesky),
        (NEGATIVE, Cholesky),
        (lx.diagonal_tag, lx.Diagonal),
        (lx.tridiagonal_tag, lx.Tridiagonal),
    ],
)
def test_solver_is_selected_by_tags(make_mesh, tags, solver):
    a = np.eye(N) * (-2 if tags is NEGATIVE else 2)
    operator = lx.MatrixLinearOperator(put(a, make_mesh(4), "x", None), tags)
    auto = AutoLinearSolver(tile=3)
    chosen = auto.select_solver(operator)
    assert type(chosen) is solver and getattr(chosen, "tile", 3) == 3
    b = jnp.arange(float(N))
    x = lx.linear_solve(operator, b, auto).value
    np.testing.assert_allclose(x, b / a[0, 0], rtol=1e-12)


@pytest.mark.parametrize("solver", [LU(), AutoLinearSolver()], ids=["LU", "auto"])
def test_operator_must_be_square(solver):
    operator = lx.MatrixLinearOperator(jnp.ones((3, 2)))
    with pytest.raises(ValueError, match="operator must be square for .*3 rows and 2 columns"):
        solver.init(operator, {})


# --- operators of any shape and rank --------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7, 4), (4, 7)])
def test_svd(make_mesh, shape):
    """All states, and the derivative, by the pseudo-inverse of a matrix of low rank."""
    a = gaussian((shape[0], 3), complex) @ gaussian((3, shape[1]), complex, 1)
    mesh = make_mesh(2)
    on = put(a, mesh, "x", None)
    operator, solver = lx.MatrixLinearOperator(on), SVD()
    state = solver.init(operator, {})
    transposed, _ = solver.transpose(state, {})
    conjugate, _ = solver.conj(state, {})
    both, _ = solver.conj(transposed, {})
    for of, matrix in ((state, a), (transposed, a.T), (conjugate, a.conj()), (both, a.conj().T)):
        b = gaussian((len(matrix),), complex, 2)
        x, result, statistics = solver.compute(of, jnp.asarray(b), {})
        np.testing.assert_allclose(x, np.linalg.pinv(matrix) @ b, atol=1e-12)
        assert result == lx.RESULTS.successful and statistics["rank"] == 3
    b = gaussian(shape[:1], complex, 2)

    def solve(a, b):
        return lx.linear_solve(lx.MatrixLinearOperator(a), b, solver).value

    x = jax.jit(solve)(on, put(b, mesh))
    np.testing.assert_allclose(x, np.linalg.pinv(a) @ b, atol=1e-12)
    gradient = jax.jit(jax.grad(lambda b, a: jnp.sum(solve(a, b).real)))(put(b, mesh), on)
    np.testing.assert_allclose(gradient, np.linalg.pinv(a).T @ np.ones(shape[1]), atol=1e-12)
