"""jaxmg.lineax.Cholesky satisfies Lineax's contract of a solver."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import assert_solves, gaussian, positive_definite, put

lx = pytest.importorskip("lineax")

from jaxmg.lineax import Cholesky  # noqa: E402

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
