"""Failure for matrices that are not positive definite: NaN everywhere, info set, no hang."""

import jax
import numpy as np
import pytest
from jaxmg import linalg, potrs
from systems import DTYPES, ROWS, assert_solves, gaussian, positive_definite, put


def solve(a, b, **options):
    return linalg.solve(a, b, assume_a="pos", return_info=True, **options)


@pytest.mark.parametrize("minor", [1, 2, 9, 17, 32])
def test_info_is_the_first_failing_minor(make_mesh, ranks, minor):
    mesh = make_mesh(ranks)
    diagonal = np.ones(32)
    diagonal[minor - 1 :] = -1
    x, info = solve(put(np.diag(diagonal), mesh, "x", None), put(np.ones(32), mesh), tile=4)
    assert info == minor
    assert np.isnan(x).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (11, 11), (3, 14), (0, 15)])
def test_not_finite(make_mesh, value, row, column):
    mesh = make_mesh(4)
    a = positive_definite(16)
    a[row, column] = value
    x, info = solve(put(a, mesh, "x", None), put(np.ones((16, 2)), mesh), tile=2)
    assert info != 0
    assert np.isnan(x).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_indefinite_for_every_dtype(make_mesh, ranks, dtype):
    mesh = make_mesh(ranks)
    a = np.diag(np.arange(1, 13)).astype(dtype)
    a[0, 1] = 2
    x, info = solve(put(a, mesh, "x", None), put(np.ones((12, 70), dtype), mesh))
    assert info == 2 and np.isnan(x).all()
    x, status = potrs(put(a, mesh, "x", None), np.ones(12, dtype), 3, mesh, ROWS, True)
    assert status == 7 and status.shape == () and status.dtype == np.int32
    assert np.isnan(x).all()


def test_the_next_call_works(make_mesh):
    mesh = make_mesh(4)
    good, b = positive_definite(16), gaussian((16,))

    @jax.jit
    def both(bad, good, b):
        return solve(bad, b), solve(good, b)

    for _ in range(3):
        failed, fine = both(put(-good, mesh, "x", None), put(good, mesh, "x", None), put(b, mesh))
        assert failed[1] == 1 and np.isnan(failed[0]).all()
        assert fine[1] == 0
        assert_solves(good, fine[0], b)
