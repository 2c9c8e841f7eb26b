"""Dtype promotion as in jax.numpy.linalg: integers to floats, others to the common dtype."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxmg import linalg, potrs
from systems import gaussian, positive_definite, put, set_mesh

N = 6
# An integer matrix whose Gram matrix is positive definite.
G = np.tril(np.arange(N * N).reshape(N, N) % 3, -1) + np.eye(N, dtype=int)
A = G @ G.T
B = np.arange(N) % 4 - 1
EXACT = ("bool", "int32", "int64")


def of_dtype(array, dtype):
    if dtype == "bool":  # A positive definite matrix of zeros and ones is diagonal.
        return np.eye(N, dtype=bool) if array.ndim == 2 else array > 0
    array = array.astype(dtype)
    return array * (1 + 0j) if np.issubdtype(dtype, np.complexfloating) else array


def like_jax(*dtypes):
    """Return the dtype in which jax.numpy.linalg computes with arrays of these dtypes."""
    return jnp.linalg.solve(*(jnp.eye(1, dtype=dtype) for dtype in (*dtypes, *dtypes)[:2])).dtype


def tolerance(*dtypes):
    """Return the tolerance of results in the least precise of these dtypes."""
    return 1e4 * max(np.finfo(dtype).eps for dtype in dtypes)


def real(dtype):
    return np.finfo(dtype).dtype


PAIRS = [
    ("bool", "float32"),
    ("float32", "int64"),
    ("int32", "complex64"),
    ("int8", "uint16"),
    ("float32", "float64"),
    ("float64", "float32"),
    ("float32", "complex64"),
    ("complex64", "float64"),
    ("float64", "complex128"),
]


@pytest.mark.parametrize(("of_a", "of_b"), PAIRS)
def test_two_operands(make_mesh, of_a, of_b):
    mesh = make_mesh(2)
    a, b = of_dtype(A, of_a), of_dtype(B, of_b)
    dtype = like_jax(of_a, of_b)
    wide = np.result_type(dtype, np.float64)
    expected = np.linalg.solve(a.astype(wide), b.astype(wide))

    def solve(a, b):
        return linalg.solve(a, b, assume_a="pos")

    def check(x):
        assert x.dtype == dtype
        np.testing.assert_allclose(x, expected, rtol=0, atol=tolerance(dtype))

    check(solve(a, b))
    a_on, b_on = put(a, mesh, "x", None), put(b, mesh, "x")
    check(solve(jnp.asarray(a), b_on))
    check(solve(a_on, b_on))
    assert solve(a_on, b_on).sharding.is_equivalent_to(b_on.sharding, 1)
    check(jax.jit(solve)(a_on, b_on))
    check(linalg.solve(a_on, b_on))
    check(linalg.lu_solve(linalg.lu_factor(a_on), b_on))
    check(potrs(a_on, b_on)[:, 0])


@pytest.mark.parametrize(("of_a", "of_b"), PAIRS)
def test_factor_and_right_hand_side(make_mesh, of_a, of_b):
    mesh = make_mesh(2)
    factor = linalg.cho_factor(put(of_dtype(A, of_a), mesh, "x", None))
    assert factor.dtype == like_jax(of_a)
    dtype, b = like_jax(factor.dtype, of_b), of_dtype(B, of_b)
    wide = np.result_type(dtype, np.float64)
    a = of_dtype(A, of_a).astype(wide)
    bound = dict(rtol=0, atol=tolerance(dtype, factor.dtype))
    x = linalg.cho_solve(factor, b)
    assert x.dtype == dtype
    np.testing.assert_allclose(x, np.linalg.solve(a, b), **bound)
    y = jax.jit(linalg.solve_triangular)(factor, b)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, np.linalg.solve(np.linalg.cholesky(a), b), **bound)


@pytest.mark.parametrize(("of_a", "of_b"), PAIRS)
def test_generalised_eigenproblem(make_mesh, of_a, of_b):
    mesh = make_mesh(2)
    a, b = of_dtype(A, of_a), of_dtype(A, of_b)
    dtype = like_jax(of_a, of_b)
    w, v = linalg.eigh(put(a, mesh, "x", None), jnp.asarray(b))
    assert (w.dtype, v.dtype) == (real(dtype), dtype)
    wide = np.result_type(dtype, np.float64)
    a, b = a.astype(wide), b.astype(wide)
    np.testing.assert_allclose(a @ v, b @ v * w, rtol=0, atol=100 * tolerance(dtype))
    np.testing.assert_allclose(linalg.eigvalsh(a, b), w, rtol=tolerance(dtype))


OF_A = {
    "det": linalg.det,
    "solve": lambda a: linalg.solve_triangular(a, np.ones(N, "int32")),
    "inv": lambda a: linalg.inv(a, assume_a="pos"),
    "cholesky": linalg.cholesky,
    "logdet": linalg.logdet,
    "slogdet": lambda a: linalg.slogdet(a, assume_a="pos"),
    "shifted": lambda a: linalg.cho_factor_shifted(a, shift=1)[1],
    "eigh": linalg.eigh,
    "eigvalsh by value": lambda a: linalg.eigvalsh(a, subset_by_value=(0, 1000))[0],
    "pinvh": lambda a: linalg.pinvh(a, rtol=np.float64(1e-6)),
    "sqrtm_h": linalg.sqrtm_h,
}


@pytest.mark.parametrize("name", OF_A)
@pytest.mark.parametrize("dtype", EXACT)
def test_exact_matrices(make_mesh, name, dtype):
    function = OF_A[name]
    a, mesh = of_dtype(A, dtype), make_mesh(2)
    default = like_jax(dtype)
    expected = function(put(a.astype(default), mesh, "x", None))
    for result in (function(put(a, mesh, "x", None)), jax.jit(function)(a)):
        jax.tree.map(
            lambda x, known: np.testing.assert_allclose(x, known, rtol=1e-3, atol=1e-3),
            jax.tree.map(abs, result),
            jax.tree.map(abs, expected),
        )
        assert jax.tree.map(lambda x: x.dtype, result) == jax.tree.map(lambda x: x.dtype, expected)
        assert jax.tree.leaves(result)[-1].dtype == default


def test_default_float_without_x64():
    jax.config.update("jax_enable_x64", False)
    try:
        for a in (A, A.astype("int32"), A.astype("float64")):
            assert linalg.solve(a, B, assume_a="pos").dtype == np.float32
            assert linalg.eigvalsh(a).dtype == np.float32
    finally:
        jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize("tiny", ["float16", "bfloat16"])
def test_half_precision_is_refused(tiny):
    a, b = A.astype("float32"), B.astype("float32")
    half_a, half_b = jnp.asarray(a, tiny), jnp.asarray(b, tiny)
    calls = {
        "a": [
            *(lambda function=function: function(half_a) for function in OF_A.values()),
            lambda: linalg.solve(half_a, b, assume_a="pos"),
            lambda: linalg.cho_factor(half_a),
            lambda: linalg.eigh(half_a, a),
        ],
        "b": [
            lambda: linalg.solve(a, half_b, assume_a="pos"),
            lambda: linalg.cho_solve(linalg.cho_factor(a), half_b),
            lambda: linalg.eigh(a, half_a),
        ],
    }
    for name, of_name in calls.items():
        for call in of_name:
            expected = f"^{name} must have one of the dtypes float32, .*; got {tiny}"
            with pytest.raises(TypeError, match=expected):
                call()


def test_non_numeric_dtypes_are_rejected():
    for a in (A.astype(object), A.astype(str), A.astype(np.longdouble)):
        with pytest.raises(TypeError, match="^a must have one of the dtypes float32"):
            linalg.logdet(a)


@pytest.mark.parametrize("call", [
    lambda value: linalg.pinvh(A, rtol=value),
    lambda value: linalg.cho_factor_shifted(A, shift=value),
    lambda value: linalg.eigh(A, subset_by_value=(value, 2.0)),
])  # fmt: skip
def test_real_scalars(call):
    for value in (0.5, 1, np.float32(0.5), np.int8(1), jnp.asarray(0.5), jnp.asarray(1)):
        call(value)
    jax.jit(call)(1)
    with pytest.raises(TypeError, match="must be a real number, got the dtype complex128"):
        call(1j)
    with pytest.raises(ValueError, match=r"must be a scalar, got an array of shape \(2,\)"):
        call(np.ones(2))


def test_strict_promotion(make_mesh):
    mesh = make_mesh(2)
    a, b = A.astype("float64"), B.astype("float64")
    single, other = b.astype("float32"), a.astype("float32")
    with jax.numpy_dtype_promotion("strict"):
        for a_on in (a, put(a, mesh, "x", None)):
            linalg.solve(a_on, b, assume_a="pos")
            linalg.pinvh(a_on, rtol=1e-6)
            linalg.cho_factor_shifted(a_on, shift=1e-3)
            linalg.eigh(a_on, subset_by_value=(0.0, 1.0))
            factor = linalg.cho_factor(a_on)
            for call in (
                lambda a: jnp.linalg.solve(a, single),
                lambda a: linalg.solve(a, single, assume_a="pos"),
                lambda a, factor=factor: linalg.cho_solve(factor, single),
                lambda a: linalg.eigh(a, other),
                lambda a: linalg.pinvh(a, rtol=np.float32(1e-6)),
            ):
                with pytest.raises(ValueError, match="dtype promotion path"):
                    call(a_on)
        # Integers alone are converted even then.
        assert linalg.solve(A, B, assume_a="pos").dtype == np.float64


def test_weak_types_give_way():
    a = A.astype("float32")
    b = jnp.broadcast_to(jnp.asarray(2.0), N)
    assert b.weak_type and b.dtype == np.float64
    assert linalg.solve(a, b, assume_a="pos").dtype == np.float32


def test_donation_of_a_promoted_matrix(make_mesh):
    mesh = make_mesh(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for dtype in ("float32", "int32"):
            a = put(of_dtype(A, dtype), mesh, "x", None)
            b = put(B.astype("float64"), mesh)
            x = linalg.solve(a, b, assume_a="pos", donate=True)
            np.testing.assert_allclose(x, np.linalg.solve(A, B), rtol=1e-8, atol=1e-8)
            linalg.inv(put(of_dtype(A, "int32"), mesh, "x", None), assume_a="pos", donate=True)
            linalg.eigh(put(of_dtype(A, dtype), mesh, "x", None), b=A, donate=True)
            linalg.cho_factor(put(of_dtype(A, "int32"), mesh, "x", None), donate=True)


@pytest.mark.parametrize(("of_a", "of_b"), [("float32", "float64"), ("complex64", "float64")])
def test_gradients_have_the_dtypes_of_the_operands(of_a, of_b):
    a, b = positive_definite(N, of_a), gaussian((N,), of_b)

    def loss(solve, a, b):
        x = solve(a, b)
        return jnp.sum(jnp.abs(x) ** 2) + jnp.sum((x * 1j).real)

    expected = jax.grad(lambda a, b: loss(jnp.linalg.solve, a, b), (0, 1))(a, b)
    for solve in (
        lambda a, b: linalg.solve(a, b, assume_a="pos"),
        lambda a, b: linalg.cho_solve(linalg.cho_factor(a), b),
    ):
        for x, known in zip(
            jax.grad(lambda a, b, s=solve: loss(s, a, b), (0, 1))(a, b), expected, strict=True
        ):
            assert x.dtype == known.dtype
            np.testing.assert_allclose(x, known, rtol=1e-3, atol=1e-3)


def test_beside_a_mesh_that_was_entered(make_mesh, devices):
    mesh = make_mesh(2)
    a = jax.device_put(A.astype("int32"), devices[-1])
    with set_mesh(mesh):
        x = linalg.solve(a, jax.device_put(B.astype("float32"), devices[-1]), assume_a="pos")
        assert x.devices() == {devices[-1]}
        np.testing.assert_allclose(x, np.linalg.solve(A, B), atol=1e-4)
        np.testing.assert_allclose(linalg.eigvalsh(a), np.linalg.eigvalsh(A), atol=1e-4)
