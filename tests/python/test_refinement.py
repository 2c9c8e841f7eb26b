"""Refined solves: backward errors, fall-back, separate right-hand sides, derivatives, factors.

Most tests share an order, a mesh and a number of right-hand sides, and hence a compiled program.
"""

import pickle

import jax
import jax.numpy as jnp
import jaxmg
import numpy as np
import pytest
from jaxmg import config, linalg
from systems import gaussian, put

N, COUNT, RANKS = 50, 7, 3
both = pytest.mark.parametrize("assume_a", ["pos", "gen"])


def with_condition(n, condition, assume_a="pos", dtype="float64"):
    """Return a matrix with a geometric spectrum: positive definite, or general."""
    q, r = (np.linalg.qr(gaussian((n, n), dtype, seed))[0] for seed in (1, 2))
    if assume_a == "gen":
        return (q * np.geomspace(1, 1 / condition, n)) @ r.conj().T
    a = (q * np.geomspace(1, 1 / condition, n)) @ q.conj().T
    return (a + a.conj().T) / 2


def backward_errors(a, x, b):
    """Return the backward error of each column, in units of u."""
    a, x, b = (np.asarray(v) for v in (a, x, b))
    x, b = x.reshape(len(a), -1), b.reshape(len(a), -1)
    wide = np.result_type(a, np.longdouble)
    residual = np.abs(b - a.astype(wide) @ x.astype(wide)).max(0)
    scale = np.abs(a).sum(1).max() * np.abs(x).max(0) + np.abs(b).max(0)
    scale = np.where(scale == 0, 1, scale)
    return np.asarray(residual / scale * 2**53, float)


def refined(a, b, assume_a="pos", **options):
    options = {"refine": "float32", "return_info": True} | options
    return linalg.solve(a, b, assume_a=assume_a, **options)


@pytest.fixture
def on_mesh(make_mesh):
    mesh = make_mesh(RANKS)
    return lambda a, b: (put(a, mesh, "x", None), put(b, mesh))


def assert_same(x, y):
    np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def assert_falls_back(a, b, assume_a, reasons):
    x, info, iterations = refined(a, b, assume_a)
    expected, expected_info = linalg.solve(a, b, assume_a=assume_a, return_info=True)
    assert info == expected_info
    assert_same(x, expected)
    assert set(np.ravel(iterations)) <= reasons
    return int(info)


# --- accuracy ---------------------------------------------------------------------------------


def with_singular_values(values, assume_a="pos"):
    q, r = (np.linalg.qr(gaussian((N, N), seed=seed))[0] for seed in (1, 2))
    a = (q * values) @ (q if assume_a == "pos" else r).T
    return (a + a.T) / 2 if assume_a == "pos" else a


def hard_matrices(assume_a):
    """Yield matrices of order N by name, of conditions from 1 to beyond 1e16."""
    for condition in 10.0 ** np.arange(0, 17, 2):
        yield f"condition {condition:g}", with_condition(N, condition, assume_a)
    for least in (1e-4, 1e-8, 1e-15):
        values = np.append(np.ones(N - 1), least)
        yield f"one singular value {least}", with_singular_values(values, assume_a)
    for rank, shift in ((N // 4, 1e-4), (N // 4, 1e-10)):
        values = np.where(np.arange(N) < rank, 1, shift)
        yield f"rank {rank} and {shift}", with_singular_values(values, assume_a)
    points = np.linspace(-1, 1, N)
    kernel = np.exp(-4 * (points[:, None] - points) ** 2)
    for noise in (1e-2, 1e-6, 1e-10):
        yield f"kernel and noise {noise}", kernel + noise * np.eye(N)
    grades = 10 ** np.linspace(-12, 12, N)
    other = grades if assume_a == "pos" else np.roll(grades, 7)
    yield "graded", with_condition(N, 1e3, assume_a) * grades[:, None] * other
    yield "graded, of condition 1e14", with_condition(N, 1e14, assume_a) * grades[:, None] * other
    index = np.arange(N)
    yield "Hilbert", 1 / (index[:, None] + index + 1.0)
    if assume_a == "gen":
        yield "Gaussian", gaussian((N, N), seed=3)
        yield "Vandermonde", np.vander(points, N)
        growing = np.eye(N) - np.tri(N, k=-1)  # Elements of U grow to 2^(N - 1).
        growing[:, -1] = 1
        yield "largest growth", growing.T


def scaling(a, assume_a):
    """Return the powers of two that scale the rows and columns of a matrix."""
    if assume_a == "pos":
        k = 2.0 ** -(np.frexp(np.diag(a))[1] // 2)
        return k, k
    left = 2.0 ** -np.frexp(np.abs(a).max(1))[1]
    return left, 2.0 ** -np.frexp(np.abs(a * left[:, None]).max(0))[1]


@both
def test_hard_matrices(on_mesh, assume_a):
    """Backward errors in the scaled system are those of full precision, or x is bitwise the same.

    The target is 2 u. Errors that stagnate are accepted up to sqrt(N) u.
    """
    refined_ones = 0
    for name, a in hard_matrices(assume_a):
        b = gaussian((N, COUNT))
        b[:, 1] = a @ np.ones(N)
        b[:, 2] = 0
        b[:, 3] *= 1e100
        x, info, iterations = (np.asarray(v) for v in refined(*on_mesh(a, b), assume_a))
        options = dict(assume_a=assume_a, return_info=True)
        full, full_info = (np.asarray(v) for v in linalg.solve(*on_mesh(a, b), **options))
        left, right = scaling(a, assume_a)
        scaled = a * left[:, None] * right
        errors, full_errors = (
            backward_errors(scaled, v / right[:, None], b * left[:, None]) for v in (x, full)
        )
        failed = iterations < 0
        assert failed[2] == (failed.all() and iterations[2] in (-2, -3)), name
        assert_same(x[:, failed], full[:, failed])
        assert info == (full_info if failed.any() else 0), name
        assert (x[:, iterations == 0] == 0).all(), name
        good = errors <= 4 * np.fmax(full_errors, 1)
        assert (good | failed).all(), (name, errors, full_errors, iterations)
        refined_ones += not failed.any()
    assert refined_ones >= 12


@pytest.mark.parametrize(
    ("ranks", "n", "dtype", "assume_a"),
    [(1, 33, "complex128", "pos"), (4, 24, "complex128", "gen"), (8, 5, "float64", "pos")],
)
def test_ranks_and_dtypes(make_mesh, ranks, n, dtype, assume_a):
    mesh = make_mesh(ranks)
    a, b = with_condition(n, 1e5, assume_a, dtype), gaussian((n,), dtype)
    read = np.triu(a) + np.tril(np.full_like(a, np.nan), -1) if assume_a == "pos" else a
    x, info, iterations = refined(put(read, mesh, "x", None), put(b, mesh), assume_a)
    assert x.dtype == b.dtype and info == 0
    assert iterations.dtype == np.int32 and iterations.shape == () and iterations > 0
    assert (backward_errors(a, x, b) <= 8).all()


@both
def test_right_hand_sides_are_separate(on_mesh, assume_a):
    a, b = with_condition(N, 1e7, assume_a), gaussian((N, COUNT))
    b[:, 1] = 0
    b[:, 2] *= 1e290
    b[:, 3] *= 1e-290
    b[5, 4] = np.nan
    b[:, 5] = a @ np.ones(N)
    b[3, 6] = np.inf
    x, info, iterations = (np.asarray(v) for v in refined(*on_mesh(a, b), assume_a))
    assert info == 0
    assert (x[:, 1] == 0).all() and (iterations[[1, 4, 6]] == 0).all()
    assert np.isnan(x[:, [4, 6]]).all()
    for column in (0, 2, 3, 5):
        scale = np.abs(b[:, column]).max()
        errors = backward_errors(a, x[:, column] / scale, b[:, column] / scale)
        assert iterations[column] > 0 and (errors <= 8).all()


@both
def test_powers_of_two_are_removed(on_mesh, assume_a):
    inner, b = with_condition(N, 1e3, assume_a), gaussian((N, COUNT))
    left = 2.0 ** np.round(np.linspace(-400, 400, N))
    right = left if assume_a == "pos" else left[::-1]
    a = inner * left[:, None] * right
    x, info, iterations = refined(*on_mesh(a, b * left[:, None]), assume_a)
    assert info == 0 and (iterations > 0).all()
    assert (backward_errors(inner, x * right[:, None], b) <= 8).all()


# --- fall-back --------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("condition", [1e12, 1e16])
def test_ill_conditioned_matrix(on_mesh, assume_a, condition):
    a = with_condition(N, condition, assume_a)
    if assume_a == "pos":
        a += 4 * N * np.finfo(float).eps / N * np.eye(N) * (condition > 1e15)
    assert_falls_back(*on_mesh(a, gaussian((N, COUNT))), assume_a, {-3, -4, -31})


@pytest.mark.parametrize(
    ("element", "value"),
    [((3, 3), -1), ((3, 3), 0), ((2, 5), np.nan), ((4, 4), np.inf), ((1, 2), 3e3), ((1, 2), 1.01)],
)
def test_matrix_that_is_not_positive_definite(on_mesh, element, value):
    a = np.eye(N)
    a[element] = value
    assert assert_falls_back(*on_mesh(a, gaussian((N, COUNT))), "pos", {-2, -3}) > 0


@both
def test_singular_matrix(on_mesh, assume_a):
    a = np.diag(np.arange(float(N)))
    info = assert_falls_back(*on_mesh(a, gaussian((N, COUNT))), assume_a, {-2, -3})
    assert info == 1


@both
def test_infinite_matrix(on_mesh, assume_a):
    a = with_condition(N, 10, assume_a)
    a[0, 1] = np.inf
    assert_falls_back(*on_mesh(a, gaussian((N, COUNT))), assume_a, {-2, -3})


# --- other precisions -------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "refine"), [("complex64", "tf32"), ("float32", "fp16x2")])
def test_precisions_of_tensor_cores(make_mesh, dtype, refine):
    mesh = make_mesh(2)
    a, b = with_condition(40, 100, "pos", dtype).astype(dtype), gaussian((40,), dtype)
    options = dict(refine=refine)
    x, info, iterations = refined(put(a, mesh, "x", None), put(b, mesh), **options)
    assert x.dtype == dtype and info == 0 and iterations > 0
    unit = np.finfo(dtype).eps * 2**52
    assert (backward_errors(a, x, b) <= 8 * unit).all()


@pytest.mark.gpu
@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize(
    ("refine", "dtype", "assume_a", "condition", "most"),
    [
        ("fp16x2", "float64", "pos", 1e6, 10),
        ("fp16x2", "complex128", "pos", 1e6, 10),
        ("tf32", "float64", "pos", 1e3, 12),
        ("tf32", "complex128", "pos", 1e3, 12),
        ("float32", "float64", "pos", 1e6, 10),
        ("fp16x2", "float32", "pos", 1e3, 5),
        ("tf32", "complex64", "pos", 1e2, 12),
        ("fp16x2", "float64", "pos", 1e14, -1),
        ("tf32", "float64", "pos", 1e14, -1),
        ("fp16x2", "float64", "gen", 1e6, 10),
        ("fp16x2", "complex128", "gen", 1e6, 10),
        ("tf32", "float64", "gen", 1e2, 20),
        ("fp16x2", "float32", "gen", 1e3, 5),
        ("tf32", "complex64", "gen", 1e2, 15),
        ("fp16x2", "complex64", "gen", 1e3, 5),
        ("fp16x2", "float64", "gen", 1e14, -1),
    ],
)
def test_tensor_cores(make_mesh, ranks, refine, dtype, assume_a, condition, most):
    """By all GPUs, and by one for all."""
    mesh, n = make_mesh(ranks), 1500
    a, b = with_condition(n, condition, assume_a, dtype).astype(dtype), gaussian((n, 2), dtype)
    on_mesh = put(a, mesh, "x", None), put(b, mesh)
    x, info, iterations = refined(*on_mesh, assume_a, refine=refine)
    assert info == 0
    if most < 0:
        assert (iterations < 0).all()
        assert_same(x, linalg.solve(*on_mesh, assume_a=assume_a))
    else:
        assert (0 < iterations).all() and (iterations <= most).all()
        assert (backward_errors(a, x, b) <= 8 * np.finfo(dtype).eps * 2**52).all()
    with config.using(one_rank_up_to=10**4):
        assert_same(np.sign(refined(*on_mesh, assume_a, refine=refine)[2]), np.sign(iterations))


# --- options ----------------------------------------------------------------------------------


def test_options(on_mesh):
    a, b = on_mesh(with_condition(N, 10), gaussian((N, COUNT)))
    plain = linalg.solve(a, b, assume_a="pos")
    x, info, iterations = refined(a, b, refine="off")
    assert (iterations == -1).all() and info == 0
    assert_same(x, plain)
    with config.using(refine="float32"):
        assert len(linalg.solve(a, b, assume_a="pos", return_info=True)) == 2
        assert_same(linalg.solve(a, b, assume_a="pos"), refined(a, b)[0])
        assert_same(refined(a, b, refine="off")[0], plain)
        assert linalg.solve(jnp.eye(3, dtype="float32"), jnp.ones(3, "float32")).tolist() == [1] * 3
    with pytest.raises(ValueError, match="refine must be one of"):
        refined(a, b, refine="float16")
    with pytest.raises(ValueError, match="requires a matrix of float64"):
        refined(a.astype(np.float32), b.astype(np.float32))
    with pytest.raises(ValueError, match="supports only assume_a"):
        refined(a, b, "diagonal")


@pytest.mark.parametrize("shape", [(0,), (0, 3), (5, 0)])
def test_empty(make_mesh, shape):
    x, info, iterations = refined(put(np.eye(shape[0]), make_mesh(2), "x", None), np.zeros(shape))
    assert x.shape == shape and info == 0 and iterations.shape == shape[1:]
    assert (iterations == -1).all()


def test_plan():
    shape, ranks = (32768, 32768), 4
    full = jaxmg.plan("potrs", shape, "float64", ranks, platform="cpu")
    plan = jaxmg.plan("potrs", shape, "float64", ranks, platform="cpu", refine="float32")
    assert plan.refine == "float32" and full.refine == "off"
    assert plan.seconds < full.seconds and plan.shard_bytes == full.shard_bytes
    assert plan.workspace_bytes >= full.shard_bytes / 2
    auto = jaxmg.plan("potrs", shape, "float64", ranks, platform="cpu", refine="auto")
    assert auto.seconds == plan.seconds and "refined from" in str(auto)
    assert jaxmg.plan("gesv", (9, 9), "float64", 1, platform="cpu", refine="auto").refine == "off"
    assert jaxmg.plan("gesv", shape, "float32", 1, platform="cpu", refine="auto").refine == "off"
    sizes = "potrs", (131072, 131072), "float64", ranks
    fast = jaxmg.plan(*sizes, platform="gpu", refine="fp16x2")
    assert fast.seconds < jaxmg.plan(*sizes, platform="gpu").seconds
    general = jaxmg.plan("gesv", *sizes[1:], platform="gpu", refine="auto")
    assert general.refine != "tf32"
    with pytest.raises(ValueError, match="supports only the routines"):
        jaxmg.plan("syevd", shape, "float64", ranks, refine="float32")


# --- transformations --------------------------------------------------------------------------


@both
@pytest.mark.parametrize("condition", [10, 1e13])
def test_donation(on_mesh, assume_a, condition):
    a, b = on_mesh(with_condition(N + 1, condition, assume_a), gaussian((N + 1,)))
    expected = refined(a, b, assume_a)
    x, _, iterations = refined(a, b, assume_a, donate=True)
    assert a.is_deleted()
    assert_same(x, expected[0])
    assert iterations == expected[2]


@pytest.mark.parametrize(("axis_type", "assume_a"), [("Auto", "gen"), ("Explicit", "pos")])
def test_derivatives(make_mesh, axis_type, assume_a):
    mesh = make_mesh(2, axis_type=axis_type)
    a, b = with_condition(12, 100, assume_a), gaussian((12,))

    def value(a, b, solve):
        return jnp.sum(jnp.sin(solve(a, b)))

    def ours(a, b):
        return linalg.solve(a, b, assume_a=assume_a, refine="float32")

    def of_kept_factor(a, b):
        make = linalg.cho_factor if assume_a == "pos" else linalg.lu_factor
        return make(a, refine="float32").solve(b)

    expected = jax.grad(value, (0, 1))(a, b, jnp.linalg.solve)
    for solve in (ours, of_kept_factor):
        gradients = jax.jit(jax.grad(lambda a, b: value(a, b, solve), (0, 1)))  # noqa: B023
        gradients = gradients(put(a, mesh, "x", None), put(b, mesh))
        for one, other in zip(gradients, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9 * np.abs(other).max())


@both
def test_vmap(make_mesh, assume_a):
    mesh = make_mesh(2)
    a = np.stack([with_condition(24, condition, assume_a) for condition in (10, 1e13, 1e3)])
    b = gaussian((3, 24))
    solve = jax.vmap(lambda a, b: refined(a, b, assume_a))
    x, info, iterations = solve(put(a, mesh), put(b, mesh))
    assert info.shape == iterations.shape == (3,)
    for i in range(3):
        expected = linalg.solve(a[i], b[i], assume_a=assume_a)
        tolerance = 100 * np.finfo(float).eps * np.linalg.cond(a[i])
        assert np.linalg.norm(x[i] - expected) <= tolerance * np.linalg.norm(expected)
    assert (np.sign(iterations) == (1, -1, 1)).all()
    solve = jax.vmap(lambda b: refined(put(a[0], mesh, "x", None), b, assume_a))
    x, info, iterations = solve(put(b, mesh))
    assert info.shape == iterations.shape == (3,) and (iterations > 0).all()
    assert (backward_errors(a[0], x.T, b.T) <= 8).all()


# --- factors ----------------------------------------------------------------------------------


@both
def test_kept_factor(make_mesh, assume_a):
    mesh = make_mesh(RANKS)
    a, b = with_condition(N, 1e5, assume_a, "complex128"), gaussian((N, 2), "complex128")
    make, solve = linalg.cho_factor, linalg.cho_solve
    if assume_a == "gen":
        make, solve = linalg.lu_factor, linalg.lu_solve
    factor = make(put(a, mesh, "x", None), refine="float32", tile=8)
    assert isinstance(factor, linalg.RefinedFactor)
    assert factor.dtype == np.complex128 and factor.data.dtype == np.complex64
    assert factor.status == 0 and factor.precision == "float32"
    b_on = put(b, mesh)
    for trans, of_a in (("T", a.T),) if assume_a == "pos" else ((0, a), ("C", a.conj().T)):
        x, info, iterations = factor.solve(b_on, trans=trans, return_info=True)
        assert info == 0 and iterations.shape == (2,) and (iterations > 0).all()
        assert (backward_errors(of_a, x, b) <= 8).all()
    # A power of two that multiplies B multiplies X, as by substitution, near the ends of the range.
    expected = np.asarray(solve(factor, b_on))
    for scale in (2.0**990, 2.0**-990):
        assert_same(solve(factor, put(b * scale, mesh)), expected * scale)
    moved = pickle.loads(pickle.dumps(factor)).to_mesh(mesh)
    assert_same(solve(moved, b_on), factor.solve(b_on))
    assert_same(jax.jit(solve)(factor, b_on), factor.solve(b_on))


@both
def test_kept_factor_falls_back(on_mesh, assume_a):
    make = linalg.cho_factor if assume_a == "pos" else linalg.lu_factor
    a, b = on_mesh(with_condition(N, 1e13, assume_a), gaussian((N, COUNT)))
    x, info, iterations = make(a, refine="float32").solve(b, return_info=True)
    assert info == 0 and (iterations < 0).all()
    assert_same(x, linalg.solve(a, b, assume_a=assume_a))


def test_errors_of_kept_factors():
    a = jnp.eye(4)
    with pytest.raises(ValueError, match="donate=True is not supported with refine"):
        linalg.cho_factor(a, refine="float32", donate=True)
    factor = linalg.cho_factor(a, refine="auto")
    with pytest.raises(TypeError, match="factor must be an LUFactor"):
        linalg.lu_solve(factor, jnp.ones(4))
    with pytest.raises(TypeError, match="b must not have a wider dtype"):
        factor.solve(jnp.ones(4) + 1j)
    with pytest.raises(TypeError, match="got RefinedFactor"):
        linalg.solve_triangular(factor, jnp.ones(4))


@both
@pytest.mark.parametrize("ranks", [1, RANKS])
@pytest.mark.parametrize("dtype", ["float64", "complex64"])
def test_norms_of_a_kept_factor_are_those_of_the_scaled_matrix(make_mesh, assume_a, ranks, dtype):
    a = 10 * with_condition(N, 10, assume_a, dtype)
    a *= 2.0 ** (np.arange(N) % 5)[:, None] * (
        2.0 ** (np.arange(N) % 5) if assume_a == "pos" else 1
    )
    make = linalg.cho_factor if assume_a == "pos" else linalg.lu_factor
    factor = make(put(a, make_mesh(ranks), "x", None), refine="fp16x2")
    left, right = 2.0 ** np.asarray(factor.exponents)
    scaled = np.abs(left[:, None] * a * right)
    assert scaled.max() <= 2
    expected = scaled.sum(axis=1).max(), scaled.sum(axis=0).max()
    np.testing.assert_allclose(factor.norms, expected, rtol=N * np.finfo(dtype).eps)
