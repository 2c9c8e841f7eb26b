"""Property tests: backward stable solutions for any shape, tile, device count and sharding."""

import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, Mesh
from jaxmg import cyclic_1d, linalg, verify_cyclic
from systems import ROWS, assert_solves, gaussian, positive_definite, put

MANY = settings(max_examples=25, deadline=None, derandomize=True)


@st.composite
def meshes(draw):
    size = draw(st.integers(1, min(8, len(jax.devices()))))
    devices = draw(st.permutations(jax.devices()))[:size]
    kind = draw(st.sampled_from([AxisType.Auto, AxisType.Explicit]))
    return Mesh(np.array(devices), ("x",), axis_types=(kind,))


@MANY
@given(
    mesh=meshes(),
    n=st.integers(1, 40),
    nrhs=st.none() | st.integers(1, 80),
    tile=st.none() | st.integers(1, 50),
    dtype=st.sampled_from(["float32", "float64", "complex64", "complex128"]),
    a_spec=st.sampled_from([("x", None), (None, "x"), ()]),
    b_spec=st.sampled_from([("x",), ()]),
    jit=st.booleans(),
)
def test_solve(mesh, n, nrhs, tile, dtype, a_spec, b_spec, jit):
    a = positive_definite(n, dtype)
    b = gaussian((n,) if nrhs is None else (n, nrhs), dtype)

    def call(a, b):
        return linalg.solve(a, b, assume_a="pos", tile=tile)

    x = (jax.jit(call) if jit else call)(put(a, mesh, *a_spec), put(b, mesh, *b_spec))
    assert x.shape == b.shape
    assert_solves(a, x, b)


@MANY
@given(
    mesh=meshes(),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 9)),
    tile=st.integers(1, 20),
    pad=st.booleans(),
)
def test_cyclic(mesh, shape, tile, pad):
    a = gaussian(shape)
    verify_cyclic(a, cyclic_1d(put(a, mesh, "x", None), tile, mesh, ROWS, pad), tile)
