"""QR factorisations and least squares agree with LAPACK, for all meshes, dtypes and shapes."""

import functools
import pickle

import jax
import jax.numpy as jnp
import jaxmg
import numpy as np
import pytest
import scipy.linalg
from jax.sharding import PartitionSpec as P
from jaxmg import linalg
from systems import DTYPES, ROWS, gaussian, put, set_mesh

# Square, tall for blocks of rows, a little tall, wide, very wide; single rows and columns; and tall
# with enough columns for least squares without Q.
SHAPES = [(16, 16), (160, 4), (24, 16), (9, 17), (3, 70), (1, 6), (6, 1), (67, 3), (402, 16)]


def assert_factors(a, q, r):
    """Check LAPACK's test ratios, and R of LAPACK: its rows have a sign that is determined."""
    a, q, r = (np.asarray(array) for array in (a, q, r))
    (m, n), k = a.shape, min(a.shape)
    assert q.shape == (m, k) and r.shape == (k, n) and q.dtype == r.dtype == a.dtype
    unit = 30 * max(m, n) * np.finfo(a.dtype).eps
    wide = np.result_type(a.dtype, np.float64)
    assert np.linalg.norm(a - q.astype(wide) @ r) <= unit * max(np.linalg.norm(a), 1e-300)
    assert np.linalg.norm(q.conj().T.astype(wide) @ q - np.eye(k)) <= unit
    assert (np.tril(r, -1) == 0).all()


def lapack_r(a):
    return scipy.linalg.qr(a, mode="r")[0][: min(a.shape)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(make_mesh, ranks, shape):
    dtype = DTYPES[(ranks + shape[0]) % 4]
    a = gaussian(shape, dtype)
    mesh = make_mesh(ranks)
    on = put(a, mesh, "x", None)
    q, r = linalg.qr(on)
    assert_factors(a, q, r)
    if not on.is_fully_replicated:
        assert r.sharding.is_equivalent_to(put(np.asarray(r), mesh, "x", None).sharding, 2)
    bound = 1e4 * max(shape) * np.finfo(dtype).eps * np.linalg.norm(a)
    for found in (r, linalg.qr(on, mode="r")):
        assert np.linalg.norm(found - lapack_r(a)) <= bound


@pytest.mark.parametrize("spec", [("x", None), (None, "x"), (), ("x", "y")], ids=str)
@pytest.mark.parametrize("shape", [(16, 16), (160, 4)], ids=str)
def test_shardings(make_mesh, axis_type, spec, shape):
    mesh, a = make_mesh(2, 2, axis_type=axis_type), gaussian(shape)
    on = put(a, mesh, *spec)
    for run in (linalg.qr, jax.jit(linalg.qr)):
        assert_factors(a, *run(on))
    with set_mesh(mesh):
        assert_factors(a, *linalg.qr(a))


def hard(m, n):
    u, s, vt = np.linalg.svd(gaussian((m, n)), full_matrices=False)
    repeated = gaussian((m, n))
    repeated[:, n // 2 :] = repeated[:, :1]
    return {
        "condition 1e15": (u * np.geomspace(1, 1e-15, n)) @ vt,
        "graded": gaussian((m, n)) * np.geomspace(1e12, 1e-12, n),
        "repeated columns": repeated,
        "zero": np.zeros((m, n)),
        "ones": np.ones((m, n)),
        "near overflow": 1e290 * gaussian((m, n)),
        "diagonal": np.eye(m, n),
    }


@pytest.mark.parametrize("name", hard(4, 2))
def test_q_is_orthonormal_for_every_matrix(make_mesh, name):
    for shape in ((200, 8), (24, 16)):
        a = hard(*shape)[name]
        q, r = linalg.qr(put(a, make_mesh(4), "x", None))
        scale = 1e-290 if name == "near overflow" else 1
        assert_factors(scale * a, q, scale * np.asarray(r))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)], ids=str)
def test_empty(make_mesh, shape):
    k = min(shape)
    q, r = linalg.qr(put(np.zeros(shape), make_mesh(2), "x", None))
    assert q.shape == (shape[0], k) and r.shape == (k, shape[1])
    x, residuals, rank, _ = linalg.lstsq(np.zeros(shape), np.ones((shape[0], 2)))
    assert x.shape == (shape[1], 2) and rank == 0
    np.testing.assert_array_equal(residuals, [shape[0]] * 2)


def solutions(a, b):
    return np.linalg.lstsq(a, b, rcond=None)[0]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_least_squares(make_mesh, ranks, shape):
    dtype = "complex128" if shape[0] % 3 == 0 else "float64"
    a, mesh = gaussian(shape, dtype), make_mesh(ranks)
    bound = 1e4 * max(shape) * np.finfo(dtype).eps * np.linalg.cond(a)
    for b in (gaussian(shape[:1], dtype, 1), gaussian((shape[0], 70), dtype, 2)):
        x, residuals, rank, s, info = linalg.lstsq(
            put(a, mesh, "x", None), put(b, mesh, "x"), method="qr", return_info=True
        )
        known = solutions(a, b)
        assert x.shape == known.shape and info == 0 and rank == min(shape) and s.shape == (0,)
        assert np.linalg.norm(x - known) <= bound * np.linalg.norm(known)
        squares = np.atleast_1d(np.linalg.norm(b - a @ known, axis=0)) ** 2
        assert residuals.shape == squares.shape
        assert (abs(residuals - squares) <= bound * np.linalg.norm(b, axis=0) ** 2).all()


def test_least_squares_of_a_singular_matrix_report_the_zero(make_mesh):
    a = put(np.ones((8, 4)) * [1, 0, 1, 0], make_mesh(2), "x", None)
    x, *_, info = linalg.lstsq(a, np.ones(8), method="qr", return_info=True)
    assert info == 2 and not np.isfinite(x).all()


@pytest.mark.parametrize("shape", [(14, 6), (6, 14)], ids=str)
def test_factor(make_mesh, shape):
    (m, n), mesh = shape, make_mesh(3)
    a, b = gaussian(shape, "complex128"), gaussian((m, 2), "complex128", 1)
    factor = linalg.qr_factor(put(a, mesh, "x", None))
    assert factor.shape == shape and factor.dtype == a.dtype and factor.info == 0
    for one in (factor, pickle.loads(pickle.dumps(jax.device_get(factor))).to_mesh(mesh)):
        r = np.asarray(one.r())
        np.testing.assert_allclose(r, lapack_r(a), atol=1e-12)
        square = np.asarray(jax.jit(lambda one, b: one.q_matmul(b))(one, np.eye(m)))
        np.testing.assert_allclose(square[:, : min(shape)] @ r, a, atol=1e-13)
        np.testing.assert_allclose(square.conj().T @ square, np.eye(m), atol=1e-13)
        np.testing.assert_allclose(one.qh_matmul(b), square.conj().T @ b, atol=1e-13)
        np.testing.assert_allclose(one.qh_matmul(b[:, 0]), square.conj().T @ b[:, 0], atol=1e-13)
    if m < n:
        with pytest.raises(ValueError, match="at least as many rows"):
            factor.solve(b)
        return
    np.testing.assert_allclose(factor.solve(b), solutions(a, b), atol=1e-12)
    c = b[:n, 0]
    x = factor.solve(c, adjoint=True)
    np.testing.assert_allclose(x, solutions(a.conj().T, c), atol=1e-12)
    gradient = jax.jit(jax.grad(lambda b: factor.solve(b).real.sum(), holomorphic=False))(b)
    known = jax.grad(lambda b: (np.linalg.pinv(a) @ b).real.sum())(b)
    np.testing.assert_allclose(gradient, known, atol=1e-12)
    with pytest.raises(NotImplementedError, match="no derivative with respect to the factored"):
        jax.jvp(lambda a: linalg.qr_factor(a).solve(b), (a,), (a,))


def by_qr(la):
    return functools.partial(la.lstsq, **(dict(method="qr") if la is linalg else {}))


# name: (function of the package's or JAX's linalg, shape)
DIFFERENTIATED = {
    "qr": (lambda la, a, b: la.qr(a), (8, 8)),
    "qr of a tall matrix": (lambda la, a, b: la.qr(a), (60, 4)),
    "r": (lambda la, a, b: la.qr(a, mode="r"), (12, 5)),
    "lstsq": (lambda la, a, b: la.lstsq(a, b)[:2], (12, 5)),
    "lstsq of a tall matrix": (lambda la, a, b: la.lstsq(a, b)[0], (60, 3)),
    "lstsq without Q of a tall matrix": (lambda la, a, b: by_qr(la)(a, b)[:2], (200, 16)),
    "least norm": (lambda la, a, b: la.lstsq(a, b)[0], (5, 12)),
}


@pytest.mark.parametrize("name", DIFFERENTIATED)
@pytest.mark.parametrize("axis_type", ["Auto", "Explicit"])
def test_derivatives_agree_with_jax_numpy(make_mesh, axis_type, name):
    dtype = "complex128" if axis_type == "Auto" else "float64"
    function, shape = DIFFERENTIATED[name]
    mesh = make_mesh(4, axis_type=axis_type)
    a, b = gaussian(shape, dtype), gaussian((shape[0], 2), dtype, 1)
    tangents = gaussian(shape, dtype, 2), gaussian(b.shape, dtype, 3)

    def scalar(la):
        def of(a, b):
            leaves = jax.tree.leaves(function(la, a, b))
            return sum(jnp.sum(jnp.abs(x) ** 2 * jnp.arange(x.shape[-1])) for x in leaves)

        return of

    def all_of(la):
        def run(a, b, *tangents):
            of = lambda a, b: function(la, a, b)  # noqa: E731
            first = jax.jvp(of, (a, b), tangents)[1]
            if axis_type == "Auto" or "tall" in name:
                return first, jax.grad(scalar(la), (0, 1))(a, b)
            return first, jax.jvp(jax.grad(scalar(la), (0, 1)), (a, b), tangents)

        return jax.jit(run)

    known = all_of(jnp.linalg)(a, b, *tangents)
    with set_mesh(mesh):
        on = [put(x, mesh, "x", None) for x in (a, b, *tangents)]
        found = all_of(linalg)(*on)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(known), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-9 * np.abs(theirs).max())


@pytest.mark.parametrize("moving", ["a", "b"])
def test_derivatives_of_least_squares_in_one_operand(make_mesh, moving):
    a, b = gaussian((200, 16), "float64"), gaussian((200,), "float64", 1)

    def gradient(la):
        def of(a, b):
            x, residuals, *_ = by_qr(la)(a, b)
            return jnp.sum(x**3) + jnp.sum(residuals)

        return jax.jit(jax.grad(of, "ab".index(moving)))(a, b)

    with set_mesh(make_mesh(4)):
        found = gradient(linalg)
    np.testing.assert_allclose(found, gradient(jnp.linalg), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("condition", [1, 1e2, 1e4, 1e6], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_residuals_of_tall_matrices(make_mesh, dtype, condition):
    m, n, eps = 403, 17, np.finfo(dtype).eps
    left, right = np.linalg.qr(gaussian((m, n), "float64"))[0], gaussian((n, n), "float64", 1)
    a = (left * np.logspace(0, -np.log10(condition), n) @ np.linalg.qr(right)[0]).astype(dtype)
    x0 = gaussian((n,), dtype, 2)
    for b in (gaussian((m,), dtype, 3), a @ x0, np.zeros(m, dtype)):
        with set_mesh(make_mesh(3)):
            x, residuals, *_ = linalg.lstsq(a, b, method="qr")
        rest = b - a.astype("complex128") @ np.asarray(x)
        size = np.linalg.norm(b) + np.linalg.norm(a) * np.linalg.norm(x)
        unit = 30 * n * eps * size
        assert np.linalg.norm(a.conj().T @ rest) <= unit * np.linalg.norm(a)
        norm = np.linalg.norm(rest)
        assert abs(residuals[0] - norm**2) <= unit * (norm + unit)


def test_derivatives_of_wide_factors_are_not_implemented():
    a = gaussian((3, 5))
    with pytest.raises(NotImplementedError, match="at least as many rows as columns"):
        jax.jvp(linalg.qr, (a,), (a,))


def test_batches(make_mesh):
    a, b = gaussian((3, 12, 5)), gaussian((4, 12), seed=1)
    with set_mesh(make_mesh(2)):
        q, r = jax.vmap(linalg.qr)(a)
        for i in range(3):
            assert_factors(a[i], q[i], r[i])
        x = jax.vmap(lambda b: linalg.lstsq(a[0], b).x)(b)
        np.testing.assert_allclose(x, solutions(a[0], b.T).T, atol=1e-12)
        tall, right = gaussian((2, 200, 16)), gaussian((3, 200), seed=1)
        x, residuals, *_ = jax.vmap(lambda b: linalg.lstsq(tall[0], b, method="qr"))(right)
        np.testing.assert_allclose(x, solutions(tall[0], right.T).T, atol=1e-12)
        squares = np.linalg.norm(right.T - tall[0] @ np.asarray(x).T, axis=0)[:, None] ** 2
        np.testing.assert_allclose(residuals, squares, rtol=1e-12)
        x = jax.vmap(lambda a: linalg.lstsq(a, right[0], method="qr").x)(tall)
        np.testing.assert_allclose(x, [solutions(one, right[0]) for one in tall], atol=1e-12)
        x = jax.vmap(lambda a: linalg.lstsq(a, b[0]).x)(a)
        np.testing.assert_allclose(x, [solutions(one, b[0]) for one in a], atol=1e-12)


def test_donation(make_mesh):
    a = gaussian((16, 16))
    on = put(a, make_mesh(4), "x", None)
    assert_factors(a, *linalg.qr(on, donate=True))
    assert on.is_deleted()


def test_inside_shard_map(make_mesh):
    mesh, a = make_mesh(2), gaussian((24, 4))
    run = jax.shard_map(lambda a: linalg.qr(a).R, mesh=mesh, in_specs=ROWS, out_specs=ROWS)
    r = np.asarray(jax.jit(run)(put(a, mesh, "x", None)))
    for half, of_half in zip(np.split(a, 2), np.split(r, 2), strict=True):
        np.testing.assert_allclose(of_half, lapack_r(half), atol=1e-13)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda a: linalg.qr(a, mode="full"), ValueError, "mode must be"),
        (lambda a: linalg.qr(a[0]), ValueError, "2D array"),
        (lambda a: linalg.qr_factor(a[:0]), ValueError, "must not be empty"),
        (lambda a: linalg.qr_factor(a).q_matmul(a[1:]), ValueError, "must have 6 rows"),
        (lambda a: linalg.lstsq(a, a[1:]), ValueError, "as many rows"),
        (lambda a: linalg.lstsq(a, a[:, 0], method="lu"), ValueError, "method must be one of"),
        (lambda a: linalg.lstsq(a, a[:, 0], 1e-3, method="qr"), ValueError, "rcond=0.001"),
        (lambda a: linalg.qr(a, tile=0), ValueError, "tile must be at least 1"),
        (lambda a: linalg.qr(a, workspace_limit=1), ValueError, "workspace"),
    ],
)
def test_errors_name_the_argument(call, error, text):
    with pytest.raises(error, match=text):
        call(gaussian((6, 4)))


def test_names_of_version_1_4(make_mesh):
    mesh, a, b = make_mesh(4), gaussian((24, 8)), gaussian(24, seed=1)
    q, r, status = jaxmg.qr(put(a, mesh, "x", None), 4, mesh, (ROWS,), return_status=True)
    assert_factors(a, q, r)
    x, failed = jaxmg.least_squares(a, b, 4, mesh, in_specs=(ROWS, P()), return_status=True)
    np.testing.assert_allclose(x, solutions(a, b), atol=1e-13)
    assert status == failed == 0
    assert jaxmg.least_squares(0 * a, b, return_status=True)[1] == 7


def test_lineax(make_mesh):
    lineax = pytest.importorskip("lineax")
    from jaxmg.lineax import QR

    for shape in ((6, 14), (14, 6), (80, 4)):
        a, b = gaussian(shape, "complex128"), gaussian(shape[0], "complex128", 1)
        on = put(a, make_mesh(2), "x", None)

        def solve(a, b, solver):
            return lineax.linear_solve(lineax.MatrixLinearOperator(a), b, solver).value

        np.testing.assert_allclose(solve(on, b, QR()), solutions(a, b), atol=1e-12)
        operator = lineax.MatrixLinearOperator(on).T
        c = gaussian(shape[1], "complex128", 2)
        x = lineax.linear_solve(operator, c, QR()).value
        np.testing.assert_allclose(x, solutions(a.T, c), atol=1e-12)
        tangents = gaussian(shape, "complex128", 3), gaussian(shape[0], "complex128", 4)
        ours, theirs = (
            jax.jvp(lambda a, b: solve(a, b, solver), (a, b), tangents)[1]  # noqa: B023
            for solver in (QR(), lineax.QR())
        )
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


def test_plan():
    tall, square = jaxmg.plan("gels", (100000, 50), "float64", 4), jaxmg.plan
    assert tall.shape == (100000, 50) and tall.shard_bytes == 25000 * 50 * 8
    assert tall.workspace_bytes > 25000 * 50 * 8  # Q
    made = [square(name, (4096, 4096), "float64", 4) for name in ("geqrf", "orgqr", "gels")]
    assert made[0].seconds < made[1].seconds and made[0].seconds < made[2].seconds
    assert made[0].shard_bytes == 1024 * 4096 * 8
    with pytest.raises(ValueError, match="square"):
        square("getrf", (4, 5), "float64", 4)
