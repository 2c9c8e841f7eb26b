"""Small matrices: one device solves for all, and each device solves its share of a batch."""

import jax
import jax.numpy as jnp
import jaxmg
import numpy as np
import pytest
from jaxmg import linalg
from jaxmg._planning import backends
from jaxmg._programs import batching, cholesky
from systems import gaussian, positive_definite, put

SIZE = 6
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


@pytest.fixture(autouse=True)
def measured_orders(monkeypatch):
    monkeypatch.delenv("JAXMG_ONE_RANK_UP_TO")


def solve(a, b):
    return linalg.solve(a, b, assume_a="pos")


# By name: the function, and the same by NumPy.
FUNCTIONS = {
    "solve_pos": (solve, np.linalg.solve),
    "solve": (linalg.solve, np.linalg.solve),
    "inv_pos": (lambda a, b: linalg.inv(a, assume_a="pos"), lambda a, b: np.linalg.inv(a)),
    "inv": (lambda a, b: linalg.inv(a), lambda a, b: np.linalg.inv(a)),
    "cholesky": (lambda a, b: linalg.cholesky(a), lambda a, b: np.linalg.cholesky(a)),
    "cho_solve": (lambda a, b: linalg.cho_solve(linalg.cho_factor(a), b), np.linalg.solve),
    "lu_solve": (lambda a, b: linalg.lu_solve(linalg.lu_factor(a), b), np.linalg.solve),
    "slogdet": (lambda a, b: linalg.slogdet(a)[1], lambda a, b: np.linalg.slogdet(a)[1]),
    "solve_triangular": (
        lambda a, b: linalg.solve_triangular(a, b, lower=True),
        lambda a, b: np.linalg.solve(np.tril(a), b),
    ),
    "eigh": (  # eigenvectors up to their phases
        lambda a, b: jnp.abs(linalg.eigh(a)[1]),
        lambda a, b: np.abs(np.linalg.eigh(a)[1]),
    ),
    "eigvalsh": (lambda a, b: linalg.eigvalsh(a), lambda a, b: np.linalg.eigvalsh(a)),
    "svd": (  # singular vectors up to their phases
        lambda a, b: jnp.abs(linalg.svd(a)[0]),
        lambda a, b: np.abs(np.linalg.svd(a)[0]),
    ),
    "svdvals": (lambda a, b: linalg.svdvals(a), lambda a, b: np.linalg.svd(a, compute_uv=False)),
    "lstsq": (lambda a, b: linalg.lstsq(a, b)[0], np.linalg.solve),
}


@pytest.mark.parametrize("n, axis_type", [(8, "Explicit"), (9, "Auto")])  # 9 = 3 + 3 + 3 + 0
@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_matrix_and_batches_agree_with_numpy(make_mesh, name, n, axis_type):
    mesh = make_mesh(4, axis_type=axis_type)
    rows = "x" if n % 4 == 0 else None
    a = np.stack([positive_definite(n, "complex128", seed) for seed in range(SIZE)])
    b = gaussian((SIZE, n, 2), "complex128")
    function, known = FUNCTIONS[name]
    expected = np.stack([known(*each) for each in zip(a, b, strict=True)])
    one = jax.jit(function)(put(a[0], mesh, rows, None), put(b[0], mesh, None, None))
    np.testing.assert_allclose(one, expected[0], **CLOSE)
    many = jax.jit(jax.vmap(function))(put(a, mesh, None, rows, None), put(b, mesh))
    np.testing.assert_allclose(many, expected, **CLOSE)


def test_results_are_those_of_one_device(make_mesh, devices):
    a, b = positive_definite(40, "float64", 1), gaussian((40, 2), "float64")
    mesh = make_mesh(4)
    for function in (solve, linalg.solve, lambda a, b: linalg.svd(a)[2]):
        alone = function(jax.device_put(a, devices[0]), jax.device_put(b, devices[0]))
        together = function(put(a, mesh, "x", None), put(b, mesh))
        np.testing.assert_array_equal(alone, together)


def test_info_and_nan_of_each_matrix_of_a_batch(make_mesh):
    mesh = make_mesh(4)
    a = np.stack([positive_definite(8, "float64", seed) for seed in range(SIZE)])
    a[2, 5, 5] = -1
    a[4, 0, 0] = np.nan
    b = gaussian((SIZE, 8), "float64")
    a, b = put(a, mesh, None, "x", None), put(b, mesh)

    @jax.jit
    @jax.vmap
    def run(a, b):
        x, info = linalg.solve(a, b, assume_a="pos", return_info=True)
        factor = linalg.cho_factor(a)
        return x, info, linalg.cho_solve(factor, b), factor.info

    for x, info in (run(a, b)[:2], run(a, b)[2:]):
        np.testing.assert_array_equal(info, [0, 0, 6, 0, 1, 0])
        np.testing.assert_array_equal(np.isnan(x).all(axis=1), np.asarray(info) != 0)
        np.testing.assert_array_equal(np.isnan(x).any(axis=1), np.asarray(info) != 0)


def test_derivatives_of_batches(make_mesh):
    mesh = make_mesh(4)
    a = np.stack([positive_definite(8, "float64", seed) for seed in range(SIZE)])
    b = gaussian((SIZE, 8), "float64")
    placed = put(a, mesh, None, "x", None), put(b, mesh)

    def loss(solve, logdet, eigvalsh):
        def of_one(a, b):
            a = (a + a.T) / 2
            return b @ solve(a, b) + logdet(a) + jnp.sum(eigvalsh(a) ** 2)

        return lambda a, b: jnp.sum(jax.vmap(of_one)(a, b))

    ours = loss(solve, lambda a: linalg.slogdet(a)[1], linalg.eigvalsh)
    known = loss(jnp.linalg.solve, lambda a: jnp.linalg.slogdet(a)[1], jnp.linalg.eigvalsh)
    for found, expected in zip(
        jax.jit(jax.grad(ours, (0, 1)))(*placed), jax.grad(known, (0, 1))(a, b), strict=True
    ):
        np.testing.assert_allclose(found, expected, **CLOSE)


def test_batches_of_batches(make_mesh):
    mesh = make_mesh(4)
    a = np.stack([positive_definite(8, "float64", seed) for seed in range(6)]).reshape(2, 3, 8, 8)
    b = gaussian((3, 8), "float64")
    run = jax.jit(jax.vmap(jax.vmap(linalg.solve), (0, None)))
    x = run(put(a, mesh, None, None, "x", None), put(b, mesh))
    np.testing.assert_allclose(x, np.linalg.solve(a, b[None, ..., None])[..., 0], **CLOSE)


def test_a_batch_is_divided_among_the_devices(make_mesh):
    mesh = make_mesh(4)
    a, b = put(gaussian((8, 12, 12), "float64"), mesh), put(gaussian((8, 12), "float64"), mesh)

    def rolls(**options):
        with jaxmg.config.using(**options):
            text = jax.jit(jax.vmap(linalg.solve)).lower(a, b).compile().as_text()
        return text.count("u32[4,40]")  # all devices meet in a call

    assert rolls() == 0
    assert rolls(one_rank_up_to=0) > 0


@pytest.fixture
def at_once(monkeypatch):
    """Solve batches at once on CPUs, too; yields the numbers of matrices that were solved so."""
    solved = []

    def counted(a, rhs):
        results, fine = solve_at_once(a, rhs)
        jax.debug.callback(lambda fine: solved.append(a.shape[0] if fine else 0), fine)
        return results, fine

    solve_at_once = cholesky._solve_at_once
    monkeypatch.setattr(cholesky, "_solves_at_once", lambda *_: True)
    monkeypatch.setattr(cholesky, "_solve_at_once", counted)
    return solved


def lower_unread(a):
    """Return matrices whose lower triangles are NaN, which the solve does not read."""
    return np.triu(a) + np.tril(np.full(a.shape, np.nan), -1)


@pytest.mark.parametrize("axis_type", ["Explicit", "Auto", None])
@pytest.mark.parametrize("size, numbers", [(35, [9, 9, 9, 9]), (64, [16, 16, 16, 16])])
def test_a_batch_is_solved_at_once(make_mesh, at_once, axis_type, size, numbers):
    a = np.stack([positive_definite(8, "complex128", seed) for seed in range(size)])
    b = gaussian((size, 8, 2), "complex128")
    given = lower_unread(a)
    if axis_type is not None:
        given = put(given, make_mesh(4, axis_type=axis_type), None, "x", None)
    x = jax.block_until_ready(jax.jit(jax.vmap(solve))(given, b))
    jax.effects_barrier()
    np.testing.assert_allclose(x, np.linalg.solve(a, b), **CLOSE)
    assert at_once == ([size] if axis_type is None else numbers)


def test_few_matrices_are_not_solved_at_once(make_mesh, at_once):
    a = np.stack([positive_definite(8, seed=seed) for seed in range(28)])
    x = jax.vmap(solve)(put(a, make_mesh(4), None, "x", None), np.ones((28, 8)))
    jax.effects_barrier()
    np.testing.assert_allclose(x, np.linalg.solve(a, np.ones((28, 8, 1)))[..., 0], **CLOSE)
    assert at_once == []


def test_large_batches_are_solved_in_parts(at_once, monkeypatch):
    monkeypatch.setattr(batching, "_BYTES_AT_ONCE", 4 * 8 * 8 * 8)
    a = np.stack([positive_definite(8, seed=seed) for seed in range(10)])
    x = jax.vmap(lambda a: solve(a, np.ones(8)))(a)
    jax.effects_barrier()
    np.testing.assert_allclose(x, np.linalg.solve(a, np.ones((10, 8, 1)))[..., 0], **CLOSE)
    assert sorted(at_once) == [2, 4, 4]


def test_info_of_a_batch_solved_at_once(make_mesh, at_once):
    # An order of its own: JAX keeps the traces of other tests, with their counters.
    a = np.stack([positive_definite(12, seed=seed) for seed in range(40)])
    a[7, 3, 3] = -1

    def with_info(a):
        return linalg.solve(a, np.ones(12), assume_a="pos", return_info=True)

    x, info = jax.vmap(with_info)(put(lower_unread(a), make_mesh(4), None, "x", None))
    jax.effects_barrier()
    fine = np.arange(40) != 7
    np.testing.assert_array_equal(info, np.where(fine, 0, 4))
    assert np.isnan(x[7]).all()
    np.testing.assert_allclose(
        x[fine], np.linalg.solve(a[fine], np.ones((39, 12, 1)))[..., 0], **CLOSE
    )
    assert sorted(at_once) == [0, 10, 10, 10]


def test_derivatives_and_batches_of_batches_at_once(make_mesh, at_once):
    a = np.stack([positive_definite(8, seed=seed) for seed in range(32)])
    b = gaussian((32, 8))

    def total(function):
        return lambda a, b: jax.vmap(function)(a, b).sum()

    found = jax.grad(total(solve), (0, 1))(put(a, make_mesh(4), None, "x", None), b)
    expected = jax.grad(total(jnp.linalg.solve), (0, 1))(a, b)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, **CLOSE)
    x = jax.vmap(jax.vmap(solve))(a.reshape(2, 16, 8, 8), b.reshape(2, 16, 8))
    np.testing.assert_allclose(x.reshape(32, 8), np.linalg.solve(a, b[..., None])[..., 0], **CLOSE)


def test_plan_says_how_many_devices_work():
    small = jaxmg.plan("gesvd", (500, 500), "float64", 4, platform="cpu")
    assert (small.ranks, small.ranks_at_work) == (4, 1)
    small = jaxmg.plan("potrs", (500, 500), "float64", 4, platform="cpu")
    assert (small.ranks, small.ranks_at_work) == (4, 1)
    assert "1 device works for all" in str(small)
    assert small.workspace_bytes >= 500 * 500 * 8
    others = (
        jaxmg.plan("potrs", (8192, 8192), "float64", 4, platform="cpu"),
        jaxmg.plan("potrs", (500, 500), "float64", 4, platform="cpu", tile=64),
        jaxmg.plan("potrs", (500, 500), "float64", 4, platform="cpu", workspace_limit=1500000),
    )
    for plan in others:
        assert plan.ranks_at_work == 4 and "works for all" not in str(plan)
    with jaxmg.config.using(one_rank_up_to=499):
        assert jaxmg.plan("potrs", (500, 500), "float64", 4, platform="cpu").ranks_at_work == 4
        assert jaxmg.plan("potrs", (499, 499), "float64", 4, platform="cpu").ranks_at_work == 1


@pytest.mark.parametrize("value", [-1, 1.5, "few"])
def test_an_order_is_an_integer_from_0_on(value):
    with pytest.raises(ValueError, match="one_rank_up_to must be an integer from 0 on"):
        jaxmg.config.update("one_rank_up_to", value)


@pytest.mark.parametrize(
    "routine",
    ["potrs", "cho_factor", "potri", "gesv", "syevd", "geqrf", "orgqr", "gels", "gesvd", "polar"],
)
def test_vendors_do_not_serve_small_matrices_by_default(monkeypatch, routine):
    monkeypatch.setattr(backends, "_availability", lambda name: ("1.0", None))
    for n in (2, 50, 200, 500, 1000, 2000):
        count = n if routine in ("syevd", "gesvd") else 1
        rows = n if routine in backends.RECTANGULAR else 0
        request = backends.Request(n, count, np.dtype("float64"), 4, "gpu", 1, 1, rows)
        assert backends.choose(routine, request).name == "tiled"


# LAPACK decomposes these on one CPU: with a tile size, our own algorithms do.
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("shape", [(9, 7), (7, 9), (8, 8), (30, 5)])
@pytest.mark.parametrize("on_mesh", [False, True])
def test_one_cpu_decomposes_matrices_of_any_shape(make_mesh, shape, dtype, on_mesh):
    m, n = shape
    a, eps = gaussian(shape, dtype), np.finfo(dtype).eps
    close = {"rtol": 0, "atol": 30 * max(shape) * eps * np.linalg.norm(a)}
    a = put(a, make_mesh(1), "x", None) if on_mesh else a
    u, s, vh = jax.jit(linalg.svd)(a)
    np.testing.assert_allclose((u * s) @ vh, a, **close)
    np.testing.assert_allclose(u.conj().T @ u, np.eye(min(shape)), **close)
    np.testing.assert_allclose(linalg.svdvals(a), s, **close)
    np.testing.assert_allclose(linalg.svd(a, tile=3)[1], s, **close)
    q, r = linalg.qr(a)
    np.testing.assert_allclose(q @ r, a, **close)
    for other in (linalg.qr(a, mode="r"), linalg.qr(a, mode="r", tile=3)):
        np.testing.assert_allclose(other, r, **close)
    for side in ("right", "left"):
        unitary, h = linalg.polar(a, side)
        np.testing.assert_allclose(unitary @ h if side == "right" else h @ unitary, a, **close)
        np.testing.assert_allclose(h, h.conj().T, **close if m != n else {"rtol": 0})


def test_one_cpu_reports_failure_and_neither_over_nor_underflows():
    a = np.ones((6, 5))
    a[2, 3] = np.nan
    *factors, info = linalg.svd(a, return_info=True)
    assert info == -4 and all(np.isnan(x).all() for x in factors)
    assert np.isnan(linalg.svdvals(a)).all()
    for scale in (1e-300, 1e300):
        q, r = linalg.qr(gaussian((9, 5), "float64") * scale)
        np.testing.assert_allclose(q @ (r / scale), gaussian((9, 5), "float64"), rtol=1e-12)
        s = linalg.svdvals(gaussian((9, 5), "float64") * scale) / scale
        np.testing.assert_allclose(s, linalg.svdvals(gaussian((9, 5), "float64")), rtol=1e-12)


@pytest.mark.parametrize("shape", [(6, 4), (5, 5)])
def test_derivatives_of_the_polar_decomposition_on_one_cpu(shape):
    a, tangent = gaussian(shape, "float64"), gaussian(shape, "float64", 1)

    def of(t):
        unitary, h = linalg.polar(a + t * tangent)
        return jnp.concatenate([unitary, h])

    step = 1e-6
    _, derivative = jax.jvp(of, (0.0,), (1.0,))
    np.testing.assert_allclose(derivative, (of(step) - of(-step)) / (2 * step), atol=1e-7)
