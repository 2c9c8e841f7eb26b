"""Singular value and polar decompositions, and their functions, agree with LAPACK and jax.numpy."""

import functools

import jax
import jax.numpy as jnp
import jaxmg
import numpy as np
import pytest
import scipy.linalg
from jaxmg import linalg
from systems import ROWS, gaussian, put

# Every number of ranks, dtype and kind of shape.
CASES = [
    (1, "Auto", "float64", (9, 9)),
    (2, "Explicit", "complex64", (8, 8)),
    (3, "Auto", "complex128", (10, 7)),
    (4, "Explicit", "float32", (8, 12)),
    (8, "Auto", "float64", (21, 21)),
]
SHAPES = [(6, 6), (7, 5), (5, 7)]


def of_rank(rank, shape, dtype="float64"):
    m, n = shape
    return gaussian((m, rank), dtype, 1) @ gaussian((rank, n), dtype, 2)


def error(a, b):
    """Return the norm of the difference in units of n eps."""
    a, b = np.asarray(a), np.asarray(b)
    return np.linalg.norm(a - b) / (max(*a.shape, 1) * np.finfo(a.dtype).eps)


def check_svd(a, u, s, vh):
    u, s, vh = (np.asarray(x) for x in (u, s, vh))
    k = len(s)
    assert u.dtype == vh.dtype == a.dtype and s.dtype == np.finfo(a.dtype).dtype
    assert (np.diff(s) <= 0).all() and (s >= 0).all()
    bound = 30 * np.linalg.norm(a)
    assert error((u[:, :k] * s) @ vh[:k], a) <= bound
    assert error(s[:, None], np.linalg.svd(a, compute_uv=False)[:, None]) <= bound
    assert error(u.conj().T @ u, np.eye(u.shape[1])) <= 30
    assert error(vh @ vh.conj().T, np.eye(len(vh))) <= 30


@pytest.mark.parametrize(("ranks", "axis_type", "dtype", "shape"), CASES)
def test_decompositions(make_mesh, ranks, axis_type, dtype, shape):
    mesh, (m, n) = make_mesh(ranks, axis_type=axis_type), shape
    for a in (gaussian(shape, dtype), of_rank(3, shape, dtype), np.zeros(shape, dtype)):
        on = put(a, mesh, *ROWS)
        u, s, vh, info = linalg.svd(on, return_info=True)
        assert info == 0 and u.shape == (m, min(m, n)) and vh.shape == (min(m, n), n)
        check_svd(a, u, s, vh)
        full = jax.jit(functools.partial(linalg.svd, full_matrices=True))(on)
        assert full.U.shape == (m, m) and full.Vh.shape == (n, n)
        check_svd(a, *full)
        bound = 30 * np.linalg.norm(a)
        assert error(np.asarray(linalg.svdvals(on))[:, None], np.asarray(s)[:, None]) <= bound
        assert linalg.matrix_rank(on) == np.linalg.matrix_rank(a)
        for side in ("right", "left"):
            u, h = map(np.asarray, linalg.polar(on, side))
            assert error(u @ h if side == "right" else h @ u, a) <= bound
            gram = u.conj().T @ u if m >= n else u @ u.conj().T
            assert error(gram, np.eye(min(m, n))) <= 30
            assert np.linalg.eigvalsh(h).min() >= -bound * n * np.finfo(a.dtype).eps


@pytest.mark.parametrize("shape", SHAPES)
def test_functions_of_singular_values(make_mesh, shape):
    a, mesh = gaussian(shape, complex), make_mesh(4)
    on = put(a, mesh, *ROWS)
    np.testing.assert_allclose(linalg.pinv(on), np.linalg.pinv(a), atol=1e-12)
    low = of_rank(2, shape, complex)
    np.testing.assert_allclose(linalg.pinv(put(low, mesh, *ROWS)), np.linalg.pinv(low), atol=1e-12)
    np.testing.assert_allclose(linalg.cond(on), np.linalg.cond(a), rtol=1e-10)
    np.testing.assert_allclose(linalg.cond(on, -2), np.linalg.cond(a, -2), rtol=1e-10)
    for ord in (None, "fro", "nuc", 2, -2, 1, -1, np.inf, -np.inf):
        np.testing.assert_allclose(linalg.norm(on, ord), np.linalg.norm(a, ord), rtol=1e-10)
    if shape[0] == shape[1]:
        np.testing.assert_allclose(linalg.cond(on, 1), np.linalg.cond(a, 1), rtol=1e-10)


def test_hermitian(make_mesh):
    a = gaussian((10, 10), complex)
    a = a + a.conj().T
    on = put(a, make_mesh(4), *ROWS)
    check_svd(a, *linalg.svd(on, hermitian=True))
    s = linalg.svd(on, compute_uv=False, hermitian=True)
    np.testing.assert_allclose(s, np.linalg.svd(a, compute_uv=False), atol=1e-12)
    np.testing.assert_allclose(linalg.pinv(on, hermitian=True), np.linalg.inv(a), atol=1e-11)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rank", [2, 5])
def test_least_squares(make_mesh, shape, rank):
    a, b = of_rank(rank, shape), gaussian((shape[0], 3), seed=5)
    known = np.linalg.lstsq(a, b)
    x, residuals, found, s, info = linalg.lstsq(put(a, make_mesh(4), *ROWS), b, return_info=True)
    np.testing.assert_allclose(x, known[0], atol=1e-10)
    np.testing.assert_allclose(residuals, np.sum((b - a @ known[0]) ** 2, axis=0), atol=1e-10)
    assert found == rank and info == 0
    np.testing.assert_allclose(s, known[3], atol=1e-12)
    vector = linalg.lstsq(a, b[:, 0], rcond=1e-3)
    np.testing.assert_allclose(vector.x, np.linalg.lstsq(a, b[:, 0], rcond=1e-3)[0], atol=1e-10)


# --- failure and empty matrices -------------------------------------------------------------------


def test_non_finite_elements_give_nan(make_mesh):
    a = gaussian((8, 8))
    a[3, 4] = np.inf
    on = put(a, make_mesh(4), *ROWS)
    for function in (linalg.svd, linalg.svdvals, linalg.pinv, linalg.polar):
        *results, info = function(on, return_info=True)
        assert info == -4
        assert all(np.isnan(result).all() for result in results)
    assert np.isnan(linalg.lstsq(on, np.ones(8)).x).all()


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_empty_matrices(make_mesh, shape):
    a = put(np.zeros(shape), make_mesh(2))
    for full in (False, True):
        u, s, vh = linalg.svd(a, full_matrices=full)
        known = np.linalg.svd(np.zeros(shape), full_matrices=full)
        assert [x.shape for x in (u, s, vh)] == [x.shape for x in known]
    assert linalg.svdvals(a).shape == (0,) and linalg.pinv(a).shape == shape[::-1]
    u, h = linalg.polar(a)
    assert u.shape == shape and h.shape == (shape[1],) * 2
    assert linalg.lstsq(a, np.ones(shape[0])).x.tolist() == [0.0] * shape[1]


def test_one_row_or_column(make_mesh):
    for shape in ((1, 5), (5, 1), (1, 1)):
        a = gaussian(shape)
        check_svd(a, *linalg.svd(put(a, make_mesh(2))))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: linalg.svd(a[0]), "2D"),
        (lambda a: linalg.svd(a[:3], hermitian=True), "square"),
        (lambda a: linalg.polar(a, "top"), "side must be"),
        (lambda a: linalg.polar(a, method="svd"), "method must be"),
        (lambda a: linalg.polar(a, steps=3), "steps=3"),
        (lambda a: linalg.norm(a, 3), "ord must be"),
        (lambda a: linalg.lstsq(a, a[0], method="lu"), "method must be"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.eye(4))


# --- derivatives, vmap ----------------------------------------------------------------------------


def of_vectors(svd, a):
    """Return a function of singular vectors that does not depend on their phases."""
    u, s, vh = svd(a)
    k = s.shape[0]
    return jnp.sin(s), jnp.abs(u[:, :k]) ** 2, jnp.abs(vh[:k]) ** 2, (u[:, 1:2] @ vh[1:2])


def jnp_polar(a):
    u, s, vh = jnp.linalg.svd(a, full_matrices=False)
    return u @ vh, (vh.conj().T * s) @ vh


# name: (ours, by jax.numpy)
FUNCTIONS = {
    "svd": (
        functools.partial(of_vectors, linalg.svd),
        functools.partial(of_vectors, lambda a: jnp.linalg.svd(a, full_matrices=False)),
    ),
    "svdvals": (linalg.svdvals, jnp.linalg.svdvals),
    "nuclear norm": (lambda a: linalg.norm(a, "nuc"), lambda a: jnp.linalg.norm(a, "nuc")),
    "pinv": (linalg.pinv, jnp.linalg.pinv),
    "polar": (lambda a: tuple(linalg.polar(a)), jnp_polar),
    "unitary factor": (lambda a: linalg.polar(a, compute_h=False), lambda a: jnp_polar(a)[0]),
    "left polar": (
        lambda a: tuple(linalg.polar(a, "left")),
        lambda a: tuple(x.conj().T for x in jnp_polar(a.conj().T)),
    ),
    "lstsq": (
        lambda a: linalg.lstsq(a, jnp.ones(a.shape[0])).x,
        lambda a: jnp.linalg.lstsq(a, jnp.ones(a.shape[0]))[0],
    ),
}


# Tall and wide matrices: those with rules of their own.
OF_SHAPES = [(name, (6, 6)) for name in FUNCTIONS]
OF_SHAPES += [("svd", (7, 5)), ("pinv", (5, 7)), ("polar", (7, 5)), ("lstsq", (5, 7))]


def number(function):
    """Return a function of a matrix with a real number."""

    def of(a):
        return sum(jnp.sum(jnp.abs(x) ** 2 + x.real) for x in jax.tree.leaves(function(a)))

    return of


@pytest.mark.parametrize(("name", "shape"), OF_SHAPES)
def test_derivatives(make_mesh, name, shape):
    ours, theirs = FUNCTIONS[name]
    dtype = "complex128" if shape == (6, 6) else "float64"
    a, da = gaussian(shape, dtype), gaussian(shape, dtype, 1)

    def both(function, a, da):
        return jax.jvp(function, (a,), (da,)), jax.grad(number(function))(a)

    on, tangent = (put(x, make_mesh(2), *ROWS) for x in (a, da))
    made = jax.jit(functools.partial(both, ours))(on, tangent)
    known = jax.jit(functools.partial(both, theirs))(a, da)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-9), made, known)


@pytest.mark.parametrize("name", ["polar", "lstsq"])
def test_second_derivatives(make_mesh, name):
    ours, theirs = FUNCTIONS[name]
    a, da = gaussian((4, 4)), gaussian((4, 4), seed=1)

    def second(function, a, da):
        return jax.jvp(jax.grad(number(function)), (a,), (da,))[1]

    on, tangent = (put(x, make_mesh(2), *ROWS) for x in (a, da))
    made = jax.jit(functools.partial(second, ours))(on, tangent)
    known = jax.jit(functools.partial(second, theirs))(a, da)
    np.testing.assert_allclose(made, known, atol=1e-9 * np.abs(known).max())


def test_derivatives_at_a_low_rank(make_mesh):
    """Among matrices of the same rank, with equal singular values: jax.numpy's are NaN."""
    a, da = np.diag([2.0, 2.0, 0.0]), np.diag([1.0, 0.0, 0.0])
    on = put(a, make_mesh(2))
    of_pinv = jax.jit(lambda a, da: jax.jvp(linalg.pinv, (a,), (da,))[1])
    dp = of_pinv(on, put(da, make_mesh(2)))
    np.testing.assert_allclose(dp, -da / 4, atol=1e-12)
    gradient = jax.jit(jax.grad(lambda a: linalg.lstsq(a, jnp.ones(3)).x.sum()))(on)
    assert np.isfinite(gradient).all()


def test_complements_have_no_derivative():
    with pytest.raises(NotImplementedError, match="full_matrices"):
        jax.grad(lambda a: linalg.svd(a, full_matrices=True).U.sum())(gaussian((4, 2)))


def test_vmap(make_mesh):
    batch = gaussian((3, 6, 4))
    on = put(batch, make_mesh(2))
    known = jnp.linalg.svd(batch, full_matrices=False)
    u, s, vh = jax.vmap(linalg.svd)(on)
    np.testing.assert_allclose(s, known[1], atol=1e-12)
    np.testing.assert_allclose((u * s[:, None]) @ vh, batch, atol=1e-12)
    u, h = jax.vmap(linalg.polar)(on)
    np.testing.assert_allclose(u @ h, batch, atol=1e-12)


# --- Newton-Schulz --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_newton_schulz(make_mesh, axis_type, shape):
    side = "left" if shape == (7, 5) else "right"
    a = gaussian(shape)
    on = put(a, make_mesh(2, axis_type=axis_type), *ROWS)
    u, h = linalg.polar(on, side, method="newton_schulz", steps=12)
    known = scipy.linalg.polar(a, side)
    np.testing.assert_allclose(u, known[0], atol=1e-6)
    np.testing.assert_allclose(h, known[1], atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_newton_schulz_on_layers(make_mesh, axis_type, dtype):
    """Each device orthogonalises its own layers: the program has no communication."""
    layers = jnp.asarray(gaussian((8, 6, 4)), dtype)
    on = put(layers, make_mesh(4, axis_type=axis_type), "x")
    approximate = functools.partial(linalg.polar, method="newton_schulz", compute_h=False)
    run = jax.jit(jax.vmap(approximate))
    u = run(on)
    assert u.dtype == dtype and u.sharding.is_equivalent_to(on.sharding, 3)
    s = np.linalg.svd(np.asarray(u, np.float64), compute_uv=False)
    assert s.min() > 0.6 and s.max() < 1.3
    text = run.lower(on).compile().as_text()
    assert not any(word in text for word in ("all-reduce", "all-gather", "all-to-all"))
    gradient = jax.jit(jax.grad(lambda a: approximate(a).astype("float32").sum()))(layers[0])
    assert np.isfinite(np.asarray(gradient, np.float32)).all()


# --- JAXMg 1.4 ------------------------------------------------------------------------------------


def test_names_of_1_4(make_mesh):
    mesh, a = make_mesh(4), gaussian((8, 8))
    on = put(a, mesh, *ROWS)
    keep = dict(donate=False)
    u, s, vh, status = jaxmg.gesvd(on, 2, mesh, ROWS, return_status=True, **keep)
    check_svd(a, u, s, vh)
    assert status == 0
    values = jaxmg.gesvd(on, compute_u=False, compute_vh=False, **keep)
    np.testing.assert_allclose(values, s, atol=1e-12)
    u, h = jaxmg.polar(on, in_specs=ROWS, **keep)
    np.testing.assert_allclose(u @ h, a, atol=1e-12)
    np.testing.assert_array_equal(jaxmg.polar(on, compute_h=False, **keep), u)


def test_plan():
    plan = jaxmg.plan("gesvd", (4096, 4096), "float64", 4, platform="gpu")
    values = jaxmg.plan("gesvd", (4096, 4096), "float64", 4, platform="gpu", vectors=0)
    polar = jaxmg.plan("polar", (4096, 4096), "float64", 4, platform="gpu")
    assert 0 < polar.seconds < plan.seconds and values.seconds < plan.seconds
    assert values.rhs_bytes == 0 and plan.rhs_bytes == 2 * plan.shard_bytes
