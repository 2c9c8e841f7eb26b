"""The row-cyclic layout: indices of rows, and bit-exact redistribution."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxmg import (
    calculate_padding,
    cyclic_1d,
    get_cols_cyclic,
    pad_rows,
    plot_block_to_cyclic,
    unpad_rows,
    verify_cyclic,
)
from jaxmg.compat.layout import cyclic_places
from systems import DTYPES, ROWS, gaussian, put


@pytest.mark.parametrize(
    ("shard", "tile", "padding"), [(12, 3, 0), (12, 5, 3), (1, 4, 3), (3, 10, 7)]
)
def test_calculate_padding(shard, tile, padding):
    assert calculate_padding(shard, tile) == padding


@pytest.mark.parametrize("dtype", DTYPES)
def test_pad_and_unpad(dtype):
    a = jnp.asarray(gaussian((3, 4), dtype))
    padded = pad_rows(a, 2)
    assert padded.shape == (5, 4) and padded.dtype == a.dtype and not padded[3:].any()
    np.testing.assert_array_equal(unpad_rows(padded, 2), a)
    np.testing.assert_array_equal(unpad_rows(pad_rows(a, 0), 0), a)
    for call, padding in ((pad_rows, -1), (unpad_rows, -1), (unpad_rows, 4)):
        with pytest.raises(ValueError, match="padding"):
            call(a, padding)


def test_get_cols_cyclic():
    columns, block, cyclic = zip(*get_cols_cyclic(12, 8, 4, 2), strict=True)
    assert columns == tuple(range(12))
    assert block == (*range(0, 6), *range(8, 14))
    assert cyclic == (*range(0, 4), *range(8, 12), *range(4, 8))


def test_places_are_a_permutation():
    for shard in range(1, 9):
        for tile in range(1, 11):
            for ranks in range(1, 5):
                places = cyclic_places(shard, tile, ranks)
                assert sorted(places) == list(range(shard * ranks))


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize(
    ("n", "tile"), [(24, 1), (24, 2), (24, 3), (24, 4), (24, 50), (25, 4), (5, 1), (1, 2)]
)
def test_cyclic_1d(make_mesh, axis_type, n, tile, pad, jit):
    mesh = make_mesh(4, axis_type=axis_type)
    a = gaussian((n, 7))

    def call(a):
        return cyclic_1d(a, tile, mesh, ROWS, pad)

    cyclic = (jax.jit(call) if jit else call)(put(a, mesh, "x", None))
    shard = -(-n // 4)
    assert cyclic.shape == (4 * (shard + (calculate_padding(shard, tile) if pad else 0)), 7)
    assert cyclic.sharding.shard_shape(cyclic.shape)[0] == cyclic.shape[0] // 4
    verify_cyclic(a, cyclic, tile)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cyclic_1d_is_bit_exact(make_mesh, ranks, dtype):
    mesh = make_mesh(ranks)
    a = gaussian((24, 24), dtype)
    a[3, 4], a[5, 6], a[20, 1] = np.nan, -0.0, np.inf
    cyclic = np.asarray(cyclic_1d(put(a, mesh, "x", None), 2, mesh, ROWS))
    places = cyclic_places(len(cyclic) // ranks, 2, ranks)
    expected = np.zeros_like(cyclic)
    expected[places[:24]] = a
    assert cyclic.tobytes() == expected.tobytes()


def test_cyclic_1d_errors(make_mesh):
    mesh = make_mesh(2)
    with pytest.raises(TypeError, match="got float16"):
        cyclic_1d(np.ones((4, 4), np.float16), 2, mesh, ROWS)
    with pytest.raises(ValueError, match="2D array"):
        cyclic_1d(np.ones(4), 2, mesh, ROWS)


def test_verify_cyclic_rejects(make_mesh):
    mesh = make_mesh(2)
    a = gaussian((8, 3))
    cyclic = cyclic_1d(put(a, mesh, "x", None), 2, mesh, ROWS)
    with pytest.raises(AssertionError, match="not the cyclic layout"):
        verify_cyclic(a, cyclic, 1)
    with pytest.raises(AssertionError, match="not the cyclic layout"):
        verify_cyclic(a + 1, cyclic, 2)


def test_plot_as_text(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert plot_block_to_cyclic(12, 4, 2) is None
    text = capsys.readouterr().out
    assert "device 0: 0 1 2 3 8 9 10 11" in text
    assert "device 1: 4 5 6 7 . . . ." in text


def test_plot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    assert plot_block_to_cyclic(12, 4, 2).axes
