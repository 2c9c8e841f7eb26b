"""General and triangular systems agree with LAPACK for all meshes, dtypes, orders and tiles."""

import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from jax.experimental import checkify
from jaxmg import linalg
from systems import DTYPES, ROWS, gaussian, positive_definite, put, set_mesh

N = 16
A, B = gaussian((N, N)), gaussian((N, 2), seed=1)


def assert_backward_stable(a, x, b, factor=1):
    """Check ||A x - b|| <= 30 n eps ||A|| ||x|| for every column, LAPACK's test ratio."""
    a, x, b = (np.asarray(array) for array in (a, x, b))
    assert x.dtype == b.dtype and x.shape == b.shape
    x, b = x.reshape(len(a), -1), b.reshape(len(a), -1)
    wide = np.result_type(a.dtype, np.float64)
    residual = np.linalg.norm(a.astype(wide) @ x - b, axis=0)
    norms = np.linalg.norm(a, 2) * np.linalg.norm(x, axis=0)
    bound = factor * 30 * len(a) * np.finfo(a.dtype).eps * norms
    assert (residual <= bound).all(), f"residuals {residual} exceed {bound}"


def everything(a, b, **options):
    factor = linalg.lu_factor(a, **options)
    return {
        "info": factor.info,
        "gesv": linalg.solve(a, b, **options),
        "getrs": linalg.lu_solve(factor, b),
        "getrs T": linalg.lu_solve(factor, b, 1),
        "getrs C": linalg.lu_solve(factor, b, trans="C"),
        "inverse": linalg.inv(factor),
        "det": linalg.det(factor),
        "slogdet": linalg.slogdet(factor),
        "logabsdet": factor.logabsdet(),
    }


def check_everything(a, b, on, b_on, **options):
    """Check every function of a factor against its definition."""
    run = jax.jit(lambda a, b: everything(a, b, **options))
    made = {name: jax.tree.map(np.asarray, value) for name, value in run(on, b_on).items()}
    assert made["info"] == 0
    for name, matrix in {"gesv": a, "getrs": a, "getrs T": a.T, "getrs C": a.conj().T}.items():
        assert_backward_stable(matrix, made[name], b)
    wide = a.astype(np.result_type(a, np.float64))
    n, eps, condition = len(a), np.finfo(a.dtype).eps, np.linalg.cond(wide)
    inverse = made["inverse"]
    assert inverse.dtype == a.dtype
    residual = np.linalg.norm(wide @ inverse - np.eye(n), 2)
    assert residual <= 30 * n * eps * np.linalg.norm(wide, 2) * np.linalg.norm(inverse, 2)
    # Backward error: the factors of A + dA, ||dA|| <= c n eps ||A||; d log det A = tr(A^-1 dA).
    bound = 10 * n**2 * eps * condition
    sign, logarithm = made["slogdet"]
    known_sign, known = np.linalg.slogdet(wide)
    assert sign.dtype == a.dtype and logarithm.dtype == np.finfo(a.dtype).dtype
    assert abs(sign - known_sign) <= bound and abs(logarithm - known) <= bound
    assert made["logabsdet"] == logarithm
    assert abs(made["det"] / np.linalg.det(wide) - 1) <= bound


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(make_mesh, ranks, dtype):
    mesh = make_mesh(ranks)
    a, b = gaussian((24, 24), dtype), gaussian((24, 2), dtype, 1)
    check_everything(a, b, put(a, mesh, "x", None), put(b, mesh))


@pytest.mark.parametrize("n", [1, 7, 65])
def test_ragged_and_tiny(make_mesh, ranks, n):
    mesh = make_mesh(ranks)
    a, b = gaussian((n, n)), gaussian((n,), seed=1)
    check_everything(a, b, put(a, mesh, "x", None), put(b, mesh), tile=4)


@pytest.mark.parametrize(("tile", "axis_type"), [(1, "Auto"), (5, "Explicit"), (1000, "Auto")])
def test_tile_is_a_hint(make_mesh, tile, axis_type):
    """Many right-hand sides, which are distributed over the devices."""
    mesh = make_mesh(3, axis_type=axis_type)
    a, b = gaussian((36, 36), "complex128"), gaussian((36, 70), "complex128", 1)
    check_everything(a, b, put(a, mesh, "x", None), put(b, mesh), tile=tile)


def test_on_one_device(devices):
    check_everything(A, B, A, B)
    last = jax.device_put(A, devices[-1])
    for result in (linalg.inv(last), linalg.lu_factor(last).solve(B), linalg.det(last)):
        assert result.devices() == {devices[-1]}


@pytest.mark.parametrize(
    ("axis_type", "spec"),
    [
        ("Explicit", ("x", "y")),
        ("Auto", (None, "y")),
        ("Auto", (("y", "x"), None)),
        ("Explicit", ()),
    ],
)
def test_on_a_grid(make_mesh, axis_type, spec):
    mesh = make_mesh(2, 2, axis_type=axis_type)
    a, b = put(A, mesh, *spec), put(B, mesh, "x", None)
    check_everything(A, B, a, b)
    assert linalg.inv(a).sharding.is_equivalent_to(a.sharding, 2)
    for x in (
        linalg.solve(a, b),
        linalg.lu_factor(a).solve(b),
        linalg.solve(a, b, assume_a="diagonal"),
        linalg.solve_triangular(a, b),
    ):
        assert x.sharding.is_equivalent_to(b.sharding, 2)


def test_several_tiles_per_device(make_mesh, ranks):
    mesh = make_mesh(ranks)
    a, b = gaussian((200, 200)), gaussian((200, 3))
    assert_backward_stable(a, linalg.solve(put(a, mesh, *ROWS), put(b, mesh), tile=8), b)


def test_functions_of_a_matrix_agree_with_its_factor(make_mesh, axis_type):
    mesh = make_mesh(4, axis_type=axis_type)
    on = put(A, mesh, *ROWS)
    factor = linalg.lu_factor(on)
    x, info = linalg.inv(on, return_info=True)
    np.testing.assert_array_equal(x, factor.inv())
    assert info == 0 and x.sharding.is_equivalent_to(on.sharding, 2)
    np.testing.assert_array_equal(linalg.slogdet(on), linalg.slogdet(factor))
    assert linalg.det(on) == linalg.det(factor)
    np.testing.assert_allclose(linalg.det(on), np.linalg.det(A), rtol=1e-12)
    # det underflows where slogdet does not.
    assert linalg.det(1e-100 * on) == 0 and np.isfinite(linalg.slogdet(1e-100 * on).logabsdet)


def test_pivots_are_those_of_lapack(make_mesh, ranks):
    """Pivots of the transpose, which are unique for a random matrix."""
    a = gaussian((45, 45))
    factor = linalg.lu_factor(put(a, make_mesh(ranks)), tile=4)
    np.testing.assert_array_equal(factor.pivots, scipy.linalg.lu_factor(a.T)[1])
    assert factor.pivots.dtype == np.int32


@pytest.mark.parametrize("assume_a", ["sym", "her"])
def test_indefinite_matrices(make_mesh, assume_a):
    a = gaussian((N, N), complex)
    a = a + (a.T if assume_a == "sym" else a.conj().T)
    x = linalg.solve(put(a, make_mesh(3)), B.astype(complex), assume_a=assume_a)
    assert_backward_stable(a, x, B.astype(complex))


def test_det_of_a_positive_definite_matrix(make_mesh):
    a = positive_definite(N)
    on = put(a, make_mesh(4), *ROWS)
    np.testing.assert_allclose(linalg.det(on, assume_a="pos"), np.linalg.det(a), rtol=1e-12)
    np.testing.assert_allclose(linalg.det(linalg.cho_factor(on)), np.linalg.det(a), rtol=1e-12)


# --- matrices that are hard for elimination -----------------------------------------------------


def growing(n):
    """Return Wilkinson's matrix, with element growth 2^(n - 1) in U."""
    a = np.eye(n) - np.tril(np.ones((n, n)), -1)
    a[:, -1] = 1
    return a


def kahan(n, angle=1.2):
    s, c = np.sin(angle), np.cos(angle)
    return s ** np.arange(n)[:, None] * (np.eye(n) - c * np.triu(np.ones((n, n)), 1))


HARD = {
    "graded rows": 10.0 ** np.linspace(-12, 12, N)[:, None] * A,
    "graded columns": 10.0 ** np.linspace(12, -12, N) * A,
    "growth of columns": growing(40),
    "growth of rows": growing(40).T,
    "Kahan": kahan(40),
    "Vandermonde": np.vander(np.linspace(0.1, 1, 12)),
    "permutation": np.eye(N)[np.random.default_rng(0).permutation(N)],
    "zero leading minors": np.kron(np.eye(N // 2), [[0.0, 1.0], [2.0, 0.0]]),
    "tiny": 1e-300 * A,
    "large": 1e300 * A,
}


@pytest.mark.parametrize("name", HARD)
def test_hard_matrices(make_mesh, name):
    """Backward stable, or as accurate as LAPACK if partial pivoting loses digits."""
    a = HARD[name]
    b = np.ones(len(a))
    with np.errstate(over="ignore"):
        by_lapack = np.linalg.norm(a @ np.linalg.solve(a, b) - b)
    scale = np.abs(a).max()
    for ranks in (1, 4):
        x = np.asarray(linalg.solve(put(a, make_mesh(ranks)), b, tile=4))
        residual = np.linalg.norm((a / scale) @ (x * scale) - b)
        norms = np.linalg.norm(a / scale, 2) * np.linalg.norm(x * scale)
        bound = max(30 * len(a) * np.finfo(float).eps * norms, 10 * by_lapack)
        assert residual <= bound


# --- singular matrices and NaN ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_pivot_is_reported(make_mesh, ranks, dtype):
    a = np.diag(np.r_[1:25]).astype(dtype)
    a[4, 4] = 0
    mesh = make_mesh(ranks)
    on, b = put(a, mesh, *ROWS), put(np.ones((24, 2), dtype), mesh)
    x, info = linalg.solve(on, b, tile=2, return_info=True)
    assert info == 5 and info.dtype == np.int32
    assert not np.isfinite(x).all() and not np.isfinite(jnp.linalg.solve(a, b)).all()
    inverse, info = linalg.inv(on, return_info=True)
    assert info == 5 and not np.isfinite(inverse).all()
    factor = linalg.lu_factor(on, tile=2)
    assert factor.info == 5 and not np.isfinite(factor.solve(b)).all()
    assert factor.det() == linalg.det(on) == 0
    assert factor.slogdet() == (0, -np.inf) and factor.logabsdet() == -np.inf


@pytest.mark.parametrize("assume_a", ["upper triangular", "lower triangular", "diagonal"])
def test_zero_diagonal_element_is_reported(make_mesh, assume_a):
    a = np.diag(np.r_[1.0:13.0])
    a[4, 4] = 0
    on = put(a, make_mesh(3))
    x, info = linalg.solve(on, np.ones(12), assume_a=assume_a, return_info=True)
    assert info == 5 and info.dtype == np.int32 and not np.isfinite(x[4])
    a[4, 4] = 1
    x, info = linalg.solve(put(a, make_mesh(3)), np.ones(12), assume_a=assume_a, return_info=True)
    assert info == 0
    np.testing.assert_allclose(x, 1 / np.diag(a))


def test_low_rank(make_mesh):
    """Rounding makes the matrix nonsingular: x is infinite or large."""
    a = gaussian((N, 3)) @ gaussian((3, N), seed=1)
    x = linalg.solve(put(a, make_mesh(4)), B)
    assert not np.isfinite(x).all() or np.linalg.norm(x) > 1e10


def test_nan_propagates(make_mesh, ranks):
    a = A.copy()
    a[3, 9] = np.nan
    on = put(a, make_mesh(ranks))
    factor = linalg.lu_factor(on, tile=2)
    for result in (factor.solve(B), linalg.solve(on, B, tile=2), linalg.inv(factor), factor.det()):
        assert np.isnan(result).any()


def test_check(make_mesh):
    def solve(a, b):
        return linalg.solve(a, b, check=True)

    on = put(A, make_mesh(4))
    assert_backward_stable(A, solve(on, B), B)
    with pytest.raises(checkify.JaxRuntimeError, match="a is singular: pivot 1 of"):
        solve(0 * on, B)
    error, _ = jax.jit(checkify.checkify(solve))(0 * on, B)
    assert "a is singular" in error.get()


# --- triangular and diagonal systems ------------------------------------------------------------


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("trans", [0, "T", 2])
@pytest.mark.parametrize(("ranks", "n", "nrhs"), [(1, 9, 2), (3, 17, 1), (4, 40, 70), (8, 5, 2)])
def test_triangular(make_mesh, ranks, n, nrhs, trans, lower):
    """Agreement with SciPy; elements outside the triangle are not read."""
    unit_diagonal = lower == (trans == "T")
    dtype = "complex128" if n % 2 else "float64"
    a, b = gaussian((n, n), dtype), gaussian((n, nrhs), dtype, 1)
    a = a / n + np.eye(n)
    options = dict(trans=trans, lower=lower, unit_diagonal=unit_diagonal)
    known = scipy.linalg.solve_triangular(a, b, **options)
    read = np.tri(n, dtype=bool) if lower else np.tri(n, dtype=bool).T
    read &= ~(unit_diagonal & np.eye(n, dtype=bool))
    mesh = make_mesh(ranks)
    on = put(np.where(read, a, np.nan), mesh, *ROWS)
    x = linalg.solve_triangular(on, put(b, mesh), tile=3, **options)
    assert x.dtype == dtype
    np.testing.assert_allclose(x, known, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("assume_a", ["upper triangular", "lower triangular", "diagonal"])
@pytest.mark.parametrize(("dtype", "donate"), [("float32", False), ("complex128", True)])
def test_solve_with_assumed_structure(make_mesh, axis_type, assume_a, dtype, donate):
    a, b = gaussian((N, N), dtype) / N + np.eye(N, dtype=dtype), gaussian((N,), dtype)
    part = {"u": np.triu, "l": np.tril, "d": lambda a: np.diag(np.diag(a))}[assume_a[0]](a)
    on = put(np.where(part == 0, np.nan, a), make_mesh(4, axis_type=axis_type), *ROWS)
    x = linalg.solve(on, b, assume_a=assume_a, donate=donate)
    assert on.is_deleted() == donate
    assert_backward_stable(part, x, b)


def test_donation(make_mesh, axis_type):
    mesh = make_mesh(4, axis_type=axis_type)
    for function in (
        linalg.inv,
        linalg.lu_factor,
        linalg.det,
        lambda a, **k: linalg.solve(a, B, **k),
    ):
        on = put(A, mesh, *ROWS)
        kept = jax.tree.map(np.asarray, function(on))
        np.testing.assert_array_equal(on, A)
        jax.tree.map(np.testing.assert_array_equal, function(on, donate=True), kept)
        assert on.is_deleted()


# --- factors as pytrees -------------------------------------------------------------------------


@pytest.fixture
def system(make_mesh, axis_type):
    mesh = make_mesh(4, axis_type=axis_type)
    return put(A, mesh, "x", None), put(B, mesh, None, None)


def test_crosses_jit_and_is_compiled_once(system):
    a, b = system
    traced = []

    @jax.jit
    def solve(factor, b):
        traced.append(factor)
        return factor.solve(b, trans=1)

    for i in range(3):
        factor = jax.jit(linalg.lu_factor)((i + 1) * a)
        assert factor.data.sharding.is_equivalent_to(a.sharding, 2)
        assert_backward_stable((i + 1) * A.T, solve(factor, b), B)
    assert len(traced) == 1


def test_is_carried_through_scan_and_selected_by_cond(system):
    @jax.jit
    def run(a, b):
        def step(factor, scale):
            return linalg.lu_factor(scale * a), factor.solve(b)

        last, x = jax.lax.scan(step, linalg.lu_factor(a), jnp.arange(2.0, 5.0))
        chosen = jax.lax.cond(
            x[0, 0, 0] > 1e9, lambda: last, lambda: linalg.lu_factor(a.T, tile=last.tile)
        )
        return last, x, chosen

    last, x, chosen = run(*system)
    for i, x_i in enumerate(np.asarray(x)):
        assert_backward_stable((i + 1) * A, x_i, B)
    assert_backward_stable(4 * A, last.solve(system[1]), B)
    assert_backward_stable(A.T, chosen.solve(system[1]), B)


def test_is_overwritten_only_if_donated(system):
    a, b = system
    factor = linalg.lu_factor(a)
    before = jax.tree.map(lambda leaf: np.asarray(leaf).copy(), factor)
    factor.inv(), factor.solve(b), factor.slogdet()
    jax.tree.map(np.testing.assert_array_equal, factor, before)
    inverse = factor.inv(donate=True)
    assert factor.data.is_deleted()
    np.testing.assert_allclose(np.asarray(inverse) @ A, np.eye(N), atol=1e-11)
    with pytest.raises(dataclasses.FrozenInstanceError):
        factor.n = 3


@pytest.mark.parametrize("n", [N, 13])
def test_is_saved_and_restored(make_mesh, axis_type, n, tmp_path):
    mesh = make_mesh(4, axis_type=axis_type)
    a, b = gaussian((n, n)), gaussian((n, 2), seed=1)
    factor = linalg.lu_factor(put(a, mesh, "x", None))
    # By pickle, then leaf by leaf, as checkpoint libraries do.
    pickled = pickle.loads(pickle.dumps(factor)).to_mesh(mesh)
    leaves, structure = jax.tree.flatten(factor)
    np.savez(tmp_path / "factor.npz", *leaves)
    with np.load(tmp_path / "factor.npz") as saved:
        loaded = [saved[f"arr_{i}"] for i in range(len(leaves))]
    loaded = jax.tree.unflatten(structure, loaded).to_mesh(mesh)
    for restored in (pickled, loaded):
        assert restored.data.sharding.is_equivalent_to(factor.data.sharding, 2)
        assert_backward_stable(a, jax.jit(linalg.lu_solve)(restored, put(b, mesh)), b)
    on_host = jax.tree.map(np.asarray, factor)
    with pytest.raises(ValueError, match=r"4 ranks along .*not on a mesh.*to_mesh\(mesh\)"):
        on_host.solve(b)
    with set_mesh(make_mesh(4)):
        assert_backward_stable(a, on_host.solve(b), b)


def test_batches(make_mesh, axis_type):
    """Batches of matrices, of right-hand sides, of factors, and of all of them."""
    mesh = make_mesh(2, axis_type=axis_type)
    a, b = gaussian((3, 6, 6)), gaussian((3, 6, 2), seed=1)
    a_on, b_on = put(a, mesh, None, "x", None), put(b, mesh, None, None, None)
    known = np.linalg.solve(a, b)
    for function in (linalg.solve, lambda a, b: linalg.lu_factor(a).solve(b)):
        for run in (jax.vmap(function), jax.jit(jax.vmap(function))):
            np.testing.assert_allclose(run(a_on, b_on), known, rtol=1e-9)
        x = jax.jit(jax.vmap(function, (None, 0)))(a_on[0], b_on)
        np.testing.assert_allclose(x, np.linalg.solve(a[0], b), rtol=1e-9)
    factors = jax.vmap(linalg.lu_factor)(a_on)
    np.testing.assert_allclose(jax.vmap(linalg.lu_solve)(factors, b_on), known, rtol=1e-9)
    np.testing.assert_allclose(jax.vmap(linalg.det)(a_on), np.linalg.det(a), rtol=1e-9)
    x = jax.jit(jax.vmap(lambda b: linalg.solve_triangular(a_on[0], b)))(b_on)
    np.testing.assert_allclose(x, np.linalg.solve(np.triu(a[0]), b), rtol=1e-9)


# --- invalid arguments --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda f: f.solve(np.ones(7)), ValueError, r"\(16, 16\) and \(7,\)"),
        (lambda f: f.solve(B, trans=3), ValueError, "trans must be one of.*got 3"),
        (lambda f: f.solve(B.astype("float16")), TypeError, "b must have one of the dtypes"),
        (lambda f: linalg.lu_solve((A, A), B), TypeError, "factor must be an LUFactor.*got tuple"),
        (lambda f: linalg.solve_triangular(f, B), TypeError, "got LUFactor: use its method solve"),
        (lambda f: linalg.solve_triangular(A, B, 3), ValueError, "trans must be one of.*got 3"),
        (lambda f: linalg.solve_triangular(A[:3], B), ValueError, "a must be a square matrix"),
        (lambda f: linalg.lu_factor(A[:3]), ValueError, r"square matrix, got shape \(3, 16\)"),
        (lambda f: linalg.lu_factor(A, tile=0), ValueError, "tile must be at least 1"),
        (lambda f: linalg.det(A, assume_a="banded"), NotImplementedError, "assume_a='banded'"),
        (lambda f: linalg.det(A, assume_a="psd"), ValueError, "assume_a must be one of"),
        (
            lambda f: dataclasses.replace(f, data=f.data[:8]).inv(),
            ValueError,
            r"shape \(16, 16\), but factor.data has shape \(8, 16\)",
        ),
        (lambda f: jax.tree.map(lambda leaf: leaf[None], f).det(), ValueError, "use vmap"),
    ],
)
def test_invalid_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(linalg.lu_factor(A))
