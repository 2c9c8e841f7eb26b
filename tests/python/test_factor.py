"""Cholesky factors and their functions, for all device counts, dtypes, sizes and tiles."""

import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from jax.experimental import checkify
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jaxmg import linalg
from systems import (
    DTYPES,
    RANKS_AND_DTYPES,
    assert_factor,
    assert_inverse,
    assert_solves,
    gaussian,
    positive_definite,
    put,
    set_mesh,
)

N = 16
A = positive_definite(N)
B = gaussian((N, 2))


def everything(a, b, **options):
    factor = linalg.cho_factor(a, **options)
    return {
        "info": factor.info,
        "x": linalg.cho_solve(factor, b),
        "inverse": linalg.inv(factor),
        "l": linalg.cholesky(factor),
        "y": linalg.solve_triangular(factor, b),
        "z": linalg.solve_triangular(factor, b, trans="C"),
        "slogdet": linalg.slogdet(factor),
        "logdet": linalg.logdet(factor),
    }


def check_everything(a, b, on, b_on, **options):
    """Check every function of a factor against its definition."""
    run = jax.jit(lambda a, b: everything(a, b, **options))
    made = {name: jax.tree.map(np.asarray, value) for name, value in run(on, b_on).items()}
    assert made["info"] == 0
    assert_solves(a, made["x"], b)
    assert_inverse(a, made["inverse"])
    assert_factor(a, made["l"])
    assert_solves(made["l"], made["y"], b)
    assert_solves(made["l"].conj().T, made["z"], b)
    wide = a.astype(np.result_type(a, np.float64))
    expected = np.linalg.slogdet(wide)[1]
    # L is exact for a matrix perturbed by c n eps ||A||, and tr(A^-1 dA) <= n ||A^-1|| ||dA||.
    bound = 10 * len(a) ** 2 * np.finfo(a.dtype).eps * np.linalg.cond(wide)
    sign, of_slogdet = made["slogdet"]
    assert sign == 1 and sign.dtype == a.dtype and of_slogdet == made["logdet"]
    assert of_slogdet.dtype == np.finfo(a.dtype).dtype and abs(of_slogdet - expected) <= bound


@pytest.mark.parametrize(("ranks", "dtype"), RANKS_AND_DTYPES)
def test_dtypes(make_mesh, ranks, dtype):
    mesh = make_mesh(ranks)
    a, b = positive_definite(24, dtype), gaussian((24, 2), dtype)
    check_everything(a, b, put(a, mesh, "x", None), put(b, mesh))


@pytest.mark.parametrize("n", [1, 7, 65])
def test_ragged_and_tiny(make_mesh, ranks, n):
    mesh = make_mesh(ranks)
    a, b = positive_definite(n), gaussian((n,))
    check_everything(a, b, put(a, mesh, "x", None), put(b, mesh), tile=4)


@pytest.mark.parametrize("tile", [1, 5, 1000])
def test_tile_is_a_hint(make_mesh, axis_type, tile):
    mesh = make_mesh(3, axis_type=axis_type)
    a, b = positive_definite(36, "complex128"), gaussian((36, 70), "complex128")
    check_everything(a, b, put(a, mesh, "x", None), put(b, mesh), tile=tile)


def test_on_one_device(devices):
    check_everything(A, B, A, B)
    last = jax.device_put(A, devices[-1])
    assert linalg.cho_factor(last).inv().devices() == {devices[-1]}


@pytest.mark.parametrize("spec", [("x", "y"), (None, "y"), (("x", "y"), None), ()])
def test_on_a_grid(make_mesh, axis_type, spec):
    mesh = make_mesh(2, 2, axis_type=axis_type)
    a, b = put(A, mesh, *spec), put(B, mesh, "x", None)
    check_everything(A, B, a, b)
    for of_matrix in (linalg.cholesky(a), linalg.inv(a, assume_a="pos")):
        assert of_matrix.sharding.is_equivalent_to(a.sharding, 2)
    assert linalg.cho_factor(a).solve(b).sharding.is_equivalent_to(b.sharding, 2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_of_a_matrix(make_mesh, axis_type, dtype):
    mesh = make_mesh(4, axis_type=axis_type)
    a = positive_definite(24, dtype)
    on = put(a, mesh, "x", None)
    x, info = linalg.inv(on, assume_a="pos", return_info=True)
    assert_inverse(a, x)
    assert info == 0 and x.sharding.is_equivalent_to(on.sharding, 2)
    triangle, info = linalg.cholesky(on, return_info=True, tile=4)
    assert_factor(a, np.asarray(triangle))
    assert info == 0 and triangle.sharding.is_equivalent_to(on.sharding, 2)
    sign, value = linalg.slogdet(on, assume_a="pos")
    assert sign == 1 and value == linalg.logdet(on)


def test_only_the_upper_triangle_is_read(make_mesh):
    mesh = make_mesh(4)
    garbage = put(np.triu(A) + np.tril(np.full_like(A, np.nan), -1), mesh, "x", None)
    check_everything(A, B, garbage, put(B, mesh))


def test_empty(make_mesh):
    a = put(np.zeros((0, 0)), make_mesh(2))
    factor = linalg.cho_factor(a)
    assert factor.solve(np.zeros((0, 2))).shape == (0, 2)
    assert factor.inv().shape == factor.lower().shape == (0, 0)
    assert factor.logdet() == 0 and factor.info == 0
    assert linalg.cho_factor(put(A, make_mesh(2))).solve(np.zeros((N, 0))).shape == (N, 0)


# --- a factor as a pytree ---------------------------------------------------------------------


@pytest.fixture
def system(make_mesh, axis_type):
    mesh = make_mesh(4, axis_type=axis_type)
    return put(A, mesh, "x", None), put(B, mesh, None, None)


def test_crosses_jit(system):
    a, b = system
    factor = jax.jit(linalg.cho_factor)(a)
    assert factor.data.sharding.is_equivalent_to(a.sharding, 2)
    assert_solves(A, jax.jit(linalg.cho_solve)(factor, b), B)
    assert_solves(A, factor.solve(b), B)
    assert_inverse(A, jax.jit(lambda factor: factor.inv())(factor))


def test_is_compiled_once(system):
    a, b = system
    traced = []

    @jax.jit
    def solve(factor, b):
        traced.append(factor)
        return factor.solve(b)

    for i in range(3):
        assert_solves((i + 1) * A, solve(linalg.cho_factor((i + 1) * a), b), B)
    assert len(traced) == 1


def test_is_carried_through_scan(system):
    @jax.jit
    def run(a, b):
        def step(factor, scale):
            return linalg.cho_factor(scale * a), factor.solve(b)

        return jax.lax.scan(step, linalg.cho_factor(a), jnp.arange(2.0, 5.0))

    last, x = run(*system)
    for i, x_i in enumerate(np.asarray(x)):
        assert_solves((i + 1) * A, x_i, B)
    assert_solves(4 * A, last.solve(system[1]), B)


def test_is_chosen_by_cond(system):
    @jax.jit
    def run(flag, a, b):
        chosen = jax.lax.cond(flag, linalg.cho_factor, lambda a: linalg.cho_factor(2 * a), a)
        return chosen.solve(b)

    for flag in (True, False):
        assert_solves(A if flag else 2 * A, run(flag, *system), B)


@pytest.mark.filterwarnings("ignore:Some donated buffers were not usable")
def test_is_donated(system):
    a, b = system
    factor = linalg.cho_factor(a)
    inverse = jax.jit(lambda factor: factor.inv(), donate_argnums=0)(factor)
    assert_inverse(A, inverse)
    assert factor.data.is_deleted()
    assert_inverse(A, linalg.inv(linalg.cho_factor(a + 0, donate=True), donate=True))
    given = a + 0
    assert_factor(A, np.asarray(linalg.cholesky(given, donate=True)))
    assert given.is_deleted() and not a.is_deleted()


def test_is_not_overwritten(system):
    a, b = system
    factor = linalg.cho_factor(a)
    before = np.asarray(factor.data).copy()

    @jax.jit
    def use(factor, b):
        return factor.inv(), factor.solve(b), factor.lower(), factor.solve_triangular(b)

    use(factor, b)
    linalg.inv(factor), linalg.cholesky(factor), linalg.logdet(factor)
    np.testing.assert_array_equal(factor.data, before)


def test_is_immutable(system):
    with pytest.raises(dataclasses.FrozenInstanceError):
        linalg.cho_factor(system[0]).n = 3


@pytest.mark.parametrize("n", [N, 13])
def test_is_saved_and_restored(make_mesh, axis_type, n, tmp_path):
    mesh = make_mesh(4, axis_type=axis_type)
    a, b = positive_definite(n), gaussian((n, 2))
    factor = linalg.cho_factor(put(a, mesh, "x", None))
    # By pickle, then leaf by leaf, as checkpoint tools do.
    pickled = pickle.loads(pickle.dumps(factor)).to_mesh(mesh)
    leaves, structure = jax.tree.flatten(factor)
    np.savez(tmp_path / "factor.npz", *leaves)
    with np.load(tmp_path / "factor.npz") as saved:
        loaded = jax.tree.unflatten(structure, [saved["arr_0"], saved["arr_1"]]).to_mesh(mesh)
    for restored in (pickled, loaded):
        assert restored.data.sharding.is_equivalent_to(factor.data.sharding, 2)
        assert_solves(a, jax.jit(linalg.cho_solve)(restored, put(b, mesh)), b)
        assert_inverse(a, restored.inv())


def test_restored_to_the_host_it_needs_a_mesh(make_mesh, system):
    factor = jax.tree.map(np.asarray, linalg.cho_factor(system[0]))
    with pytest.raises(ValueError, match=r"4 ranks along .*not on a mesh.*to_mesh\(mesh\)"):
        factor.solve(B)
    with set_mesh(make_mesh(4)):
        assert_solves(A, factor.solve(B), B)


# --- failure ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("ranks", "dtype"), RANKS_AND_DTYPES)
def test_indefinite(make_mesh, ranks, dtype):
    mesh = make_mesh(ranks)
    a = np.diag(np.arange(1, 13)).astype(dtype)
    a[0, 1] = 2
    b = put(np.ones((12, 2), dtype), mesh)
    made = jax.jit(lambda a, b: everything(a, b, tile=2))(put(a, mesh, "x", None), b)
    assert made["info"] == 2 and made.pop("info").dtype == np.int32
    for result in jax.tree.leaves(made):
        assert np.isnan(result).all()


def test_info_of_matrices(make_mesh):
    a = np.diag(np.arange(1.0, 13.0))
    a[4, 4] = -1
    on = put(a, make_mesh(4), "x", None)
    for x, info in (
        linalg.inv(on, assume_a="pos", return_info=True),
        linalg.cholesky(on, return_info=True),
    ):
        assert info == 5 and np.isnan(x).all()


def test_not_finite(make_mesh):
    a = A.copy()
    a[3, 9] = np.nan
    factor = linalg.cho_factor(put(a, make_mesh(4), "x", None), tile=2)
    assert factor.info != 0 and np.isnan(factor.solve(B)).all() and np.isnan(factor.inv()).all()


def test_check(system):
    a, b = system

    def solve(a, b):
        return linalg.solve(a, b, assume_a="pos", check=True)

    assert_solves(A, solve(a, b), B)
    with pytest.raises(checkify.JaxRuntimeError, match="leading minor of order 1 is not"):
        solve(-a, b)
    error, x = jax.jit(checkify.checkify(solve))(a, b)
    assert error.get() is None
    assert_solves(A, x, B)
    error, _ = jax.jit(checkify.checkify(solve))(-a, b)
    assert "leading minor of order 1" in error.get()


# --- invalid arguments ------------------------------------------------------------------------


def test_wrong_right_hand_sides(system):
    factor = linalg.cho_factor(system[0])
    for call in (linalg.cho_solve, linalg.solve_triangular):
        with pytest.raises(ValueError, match=r"\(16, 16\) and \(7,\)"):
            call(factor, np.ones(7))
    with pytest.raises(TypeError, match="factor must be a CholeskyFactor.*got tuple"):
        linalg.cho_solve((A, True), B)
    with pytest.raises(ValueError, match="unit_diagonal=True is not supported for a factor"):
        linalg.solve_triangular(factor, B, unit_diagonal=True)
    with pytest.raises(ValueError, match="trans must be one of.*got 3"):
        factor.solve_triangular(B, trans=3)


@pytest.mark.parametrize(("axis_type", "dtype"), [("Auto", "float32"), ("Explicit", "complex128")])
@pytest.mark.parametrize("trans", [0, "N", 1, "T", 2, "C"])
def test_trans_has_the_meaning_of_scipy(make_mesh, axis_type, dtype, trans):
    mesh = make_mesh(4, axis_type=axis_type)
    a, b = positive_definite(13, dtype), gaussian((13, 2), dtype)
    known = scipy.linalg.solve_triangular(np.linalg.cholesky(a), b, trans=trans, lower=True)
    factor = linalg.cho_factor(put(a, mesh))
    for call in (
        linalg.solve_triangular,
        jax.jit(linalg.solve_triangular, static_argnames="trans"),
    ):
        x = call(factor, put(b, mesh), trans=trans)
        assert x.dtype == dtype
        np.testing.assert_allclose(x, known, rtol=0, atol=1e3 * np.finfo(dtype).eps)


def test_wrong_mesh(make_mesh, system):
    factor = linalg.cho_factor(system[0])
    for other in (make_mesh(2), make_mesh(4, names="q"), make_mesh(2, 2)):
        data = jax.device_put(np.asarray(factor.data), NamedSharding(other, P(other.axis_names)))
        moved = dataclasses.replace(factor, data=data)
        for use in (
            moved.inv,
            lambda moved=moved: moved.solve(B),
            lambda other=other: factor.to_mesh(other),
        ):
            with pytest.raises(ValueError, match=r"4 ranks along \('x',\), but the mesh is"):
                use()


def test_wrong_contents(system):
    factor = linalg.cho_factor(system[0])
    with pytest.raises(ValueError, match=r"shape \(16, 16\), but factor.data has shape \(8, 16\)"):
        dataclasses.replace(factor, data=np.asarray(factor.data)[:8]).inv()
    with pytest.raises(ValueError, match="use vmap for a batch"):
        jax.tree.map(lambda leaf: leaf[None], factor).solve(B)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: linalg.inv(A, assume_a="banded"), NotImplementedError, "assume_a='banded'"),
        (
            lambda: linalg.slogdet(A, assume_a="lower triangular"),
            NotImplementedError,
            "assume_a='lower triangular' is implemented only for solve",
        ),
        (lambda: linalg.inv(A, assume_a="psd"), ValueError, "assume_a must be one of"),
        (lambda: linalg.cholesky(A[:3]), ValueError, r"square matrix, got shape \(3, 16\)"),
        (lambda: linalg.cho_factor(A[None]), ValueError, "2D array"),
        (lambda: linalg.logdet(A.astype("float16")), TypeError, "a must have one of the dtypes"),
        (lambda: linalg.cho_factor(A, backend="mg"), ValueError, "backend must be one of"),
        (lambda: linalg.cho_factor(A, tile=0), ValueError, "tile must be at least 1"),
        (lambda: linalg.cho_factor_shifted(A, growth=1), ValueError, "growth must be above 1"),
        (lambda: linalg.cho_factor_shifted(A, max_tries=0), ValueError, "max_tries"),
    ],
)
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
