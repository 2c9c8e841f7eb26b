"""jaxmg.linalg.solve: residuals for all device counts, dtypes, sizes and tiles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxmg import linalg
from systems import RANKS_AND_DTYPES, assert_solves, gaussian, positive_definite, put


def solve(a, b, **options):
    return linalg.solve(a, b, assume_a="pos", **options)


@pytest.mark.parametrize(("ranks", "dtype"), RANKS_AND_DTYPES)
def test_dtypes(make_mesh, ranks, dtype):
    mesh = make_mesh(ranks)
    a, b = positive_definite(48, dtype), gaussian((48, 2), dtype)
    x, info = solve(put(a, mesh, "x", None), put(b, mesh), return_info=True)
    assert_solves(a, x, b)
    assert info.dtype == np.int32 and info.shape == () and info == 0


@pytest.mark.parametrize("ranks", [1, 3, 8])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 65])
def test_ragged_and_tiny(make_mesh, ranks, n):
    mesh = make_mesh(ranks)
    a, b = positive_definite(n), gaussian((n,))
    assert_solves(a, solve(put(a, mesh, "x", None), put(b, mesh)), b)


@pytest.mark.parametrize("tile", [1, 3, 8, 12, 13, 1000])
@pytest.mark.parametrize("n", [36, 47])
def test_tile_is_a_hint(make_mesh, tile, n):
    mesh = make_mesh(3)
    a, b = positive_definite(n, "complex128"), gaussian((n, 1), "complex128")
    assert_solves(a, solve(put(a, mesh, "x", None), put(b, mesh), tile=tile), b)


@pytest.mark.parametrize(
    ("nrhs", "dtype"),
    [
        (1, "float64"),
        (7, "complex64"),
        (64, "float64"),
        (65, "complex64"),
        (131, "float64"),
        (300, "complex64"),
    ],
)
def test_few_and_many_right_hand_sides(make_mesh, nrhs, dtype):
    mesh = make_mesh(4)
    a, b = positive_definite(40, dtype), gaussian((40, nrhs), dtype)
    assert_solves(a, solve(put(a, mesh, "x", None), put(b, mesh)), b)


def test_several_tiles_per_device(make_mesh, ranks):
    mesh = make_mesh(ranks)
    a, b = positive_definite(400), gaussian((400, 3))
    assert_solves(a, solve(put(a, mesh, "x", None), put(b, mesh), tile=16), b)


def test_matches_one_device(make_mesh):
    mesh = make_mesh(4)
    a, b = positive_definite(64), gaussian((64,))
    expected = jax.scipy.linalg.solve(a, b, assume_a="pos")
    x = solve(put(a, mesh, "x", None), put(b, mesh))
    np.testing.assert_allclose(x, expected, rtol=1e-12)


def test_only_the_upper_triangle_is_read(make_mesh, ranks):
    mesh = make_mesh(ranks)
    a, b = positive_definite(30, "complex128"), gaussian((30,), "complex128")
    garbage = np.triu(a) + np.tril(np.full_like(a, np.nan), -1)
    assert_solves(a, solve(put(garbage, mesh, "x", None), put(b, mesh), tile=4), b)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (5, 0)])
def test_empty(make_mesh, shape):
    mesh = make_mesh(2)
    a, b = put(positive_definite(shape[0]), mesh), put(np.zeros(shape), mesh)
    x, info = solve(a, b, return_info=True)
    assert x.shape == shape and x.dtype == b.dtype and info == 0


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_without_x64(make_mesh, dtype):
    mesh = make_mesh(2)
    a, b = positive_definite(20, dtype), gaussian((20, 2), dtype)
    jax.config.update("jax_enable_x64", False)
    try:
        x, info = solve(put(a, mesh, "x", None), put(b, mesh), return_info=True)
        assert info.dtype == np.int32
    finally:
        jax.config.update("jax_enable_x64", True)
    assert_solves(a, x, b)


def test_arguments_are_not_overwritten(make_mesh):
    mesh = make_mesh(4)
    a, b = positive_definite(32), gaussian((32, 2))
    a_on, b_on = put(a, mesh, "x", None), put(b, mesh)

    def residual(a, b):
        return a @ solve(a, b) - b

    assert jnp.abs(residual(a_on, b_on)).max() < 1e-12
    assert jnp.abs(jax.jit(residual)(a_on, b_on)).max() < 1e-12
    np.testing.assert_array_equal(a_on, a)
    np.testing.assert_array_equal(b_on, b)


def test_workspace_limit(make_mesh):
    mesh = make_mesh(2)
    a, b = put(positive_definite(64), mesh, "x", None), put(gaussian((64,)), mesh)
    assert_solves(a, solve(a, b, workspace_limit=2**30), b)
    with pytest.raises(ValueError, match="workspace"):
        solve(a, b, workspace_limit=1)
