"""Pseudo-inverses and square roots: values, shardings, and NaN on failure."""

import jax.numpy as jnp
import numpy as np
import pytest
from jaxmg import linalg
from jaxmg._arguments import ArgumentError
from systems import ROWS, gaussian, hermitian, put

CASES = [(1, "float64", 13), (3, "complex64", 12), (3, "float32", 17), (8, "complex128", 24)]


def semidefinite(n, rank, dtype):
    g = gaussian((n, rank), dtype, seed=1)
    return g @ g.conj().T


def bound(n, dtype):
    """Bound of c n eps on the relative error of a product of three matrices."""
    return 30 * n * np.finfo(dtype).eps


def relative(x, y):
    return np.linalg.norm(x - y) / np.linalg.norm(y)


@pytest.mark.parametrize(("ranks", "dtype", "n"), CASES, ids=str)
def test_pinvh_has_the_properties_of_moore_and_penrose(make_mesh, ranks, dtype, n):
    a = semidefinite(n, n // 2, dtype)
    sharded = put(a, make_mesh(ranks), *ROWS)
    x = linalg.pinvh(sharded)
    assert x.sharding.is_equivalent_to(sharded.sharding, 2)
    x = np.asarray(x)
    w = np.linalg.eigvalsh(a)
    condition = w[-1] / w[n - n // 2]
    for product, expected in ((a @ x @ a, a), (x @ a @ x, x)):
        assert relative(product, expected) < condition * bound(n, dtype)
    assert relative(x, x.conj().T) < bound(n, dtype)
    assert relative(a @ x, (a @ x).conj().T) < condition * bound(n, dtype)


@pytest.mark.parametrize(("ranks", "dtype", "n"), CASES, ids=str)
def test_the_square_of_sqrtm_h_is_the_matrix(make_mesh, ranks, dtype, n):
    a = semidefinite(n, n, dtype)
    root = np.asarray(linalg.sqrtm_h(put(a, make_mesh(ranks), *ROWS)))
    assert relative(root @ root, a) < bound(n, dtype)
    assert np.linalg.eigvalsh(root).min() > -bound(n, dtype) * np.linalg.norm(root)


def test_one_triangle_is_read(make_mesh):
    a = hermitian(12, "complex128")
    a = a @ a
    for function in (linalg.pinvh, linalg.sqrtm_h):
        expected = function(put(a, make_mesh(4), *ROWS))
        for uplo, part in (("L", np.tril(a)), ("U", np.triu(a))):
            found = function(put(part, make_mesh(4), *ROWS), UPLO=uplo)
            assert relative(found, expected) < 1e3 * bound(12, "float64")


def test_rtol_is_the_cutoff_of_eigenvalues(make_mesh):
    a = put(np.diag([4.0, 1.0, 1e-3, 0.0]), make_mesh(4), *ROWS)
    np.testing.assert_allclose(np.diag(linalg.pinvh(a)), [0.25, 1, 1e3, 0], rtol=1e-12)
    np.testing.assert_allclose(np.diag(linalg.pinvh(a, rtol=1e-2)), [0.25, 1, 0, 0], atol=1e-12)


def test_failures(make_mesh):
    negative = put(np.diag([1.0, 2.0, -1.0, 3.0]), make_mesh(4), *ROWS)
    root, info = linalg.sqrtm_h(negative, return_info=True)
    assert np.isnan(root).all() and info == 0
    broken = put(np.diag([1.0, np.nan, 1.0, 1.0]), make_mesh(4), *ROWS)
    for function in (linalg.pinvh, linalg.sqrtm_h):
        x, info = function(broken, return_info=True)
        assert np.isnan(x).all() and info != 0
        with pytest.raises(ArgumentError, match="a must be a 2D array"):
            function(jnp.float64(1))
        with pytest.raises(ValueError, match="UPLO"):
            function(negative, UPLO="X")


def test_slogdet_has_the_names_of_jax(make_mesh):
    result = linalg.slogdet(put(np.diag([2.0, 3.0]), make_mesh(2), *ROWS), assume_a="pos")
    assert result.sign == 1
    np.testing.assert_allclose(result.logabsdet, np.log(6), rtol=1e-14)


def test_mesh_comes_from_the_second_matrix_if_the_first_has_none(make_mesh):
    a, b = hermitian(8), semidefinite(8, 8, "float64") + np.eye(8)
    on_mesh = put(b, make_mesh(4), *ROWS)
    w, v = linalg.eigh(a, on_mesh)
    assert len(v.sharding.device_set) == 4
    assert relative(a @ v, b @ v * w) < 1e3 * bound(8, "float64")
