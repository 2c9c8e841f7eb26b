"""Invalid arguments raise while tracing, with the value given and the value expected."""

import jax
import jax.numpy as jnp
import jaxmg
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxmg import cyclic_1d, linalg, potrs
from systems import ROWS, positive_definite, put

A = positive_definite(8)
B = np.ones(8)


@pytest.mark.all_cases
@pytest.mark.parametrize(
    "call", [lambda a, b: linalg.solve(a, b, assume_a="pos"), linalg.solve, potrs]
)
@pytest.mark.parametrize(
    ("a", "b", "error", "message"),
    [
        (A[0], B, ValueError, r"a must be a 2D array, got shape \(8,\)"),
        (A[None], B, ValueError, r"a must be a 2D array, got shape \(1, 8, 8\)"),
        (A[:6], B, ValueError, r"a must be a square matrix, got shape \(6, 8\)"),
        (A, np.ones((8, 1, 1)), ValueError, r"b must be a 1D or 2D array, got shape \(8, 1, 1\)"),
        (A, np.ones(7), ValueError, r"A and b must have the same number of columns.*\(7,\)"),
        (jnp.asarray(A, jnp.bfloat16), B, TypeError, "a must have one of the dtypes.*got bfloat16"),
        (A, B.astype(np.float16), TypeError, "b must have one of the dtypes.*got float16"),
    ],
)
def test_shapes_and_dtypes(call, a, b, error, message):
    with pytest.raises(error, match=message):
        call(a, b)
    with pytest.raises(error, match=message):
        jax.jit(call)(a, b)


def test_shape_errors_are_assertion_errors_too():
    for call in (lambda: potrs(A[0], B), lambda: potrs(A, np.ones(7))):
        with pytest.raises(AssertionError):
            call()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"assume_a": "banded"}, NotImplementedError, "assume_a='banded' is not implemented"),
        ({"assume_a": "tridiagonal"}, NotImplementedError, "assume_a='gen' works for any matrix"),
        ({"assume_a": "psd"}, ValueError, "assume_a must be one of .*'pos'"),
        ({"assume_a": "pos", "backend": "mg"}, ValueError, "backend must be one of .*'tiled'"),
        ({"assume_a": "pos", "tile": 0}, ValueError, "tile must be at least 1, got 0"),
        ({"assume_a": "pos", "tile": 1.5}, TypeError, "tile must be an integer, got 1.5"),
        ({"assume_a": "pos", "workspace_limit": 0}, ValueError, "workspace_limit"),
    ],
)
def test_options_of_solve(options, error, message):
    with pytest.raises(error, match=message):
        linalg.solve(A, B, **options)


@pytest.mark.parametrize("specs", ["x", None.__class__, ("x", None), [ROWS, "x"], 3])
def test_type_of_in_specs(make_mesh, specs):
    with pytest.raises(TypeError, match="^in_specs must be a PartitionSpec"):
        potrs(A, B, 2, make_mesh(2), specs)


def test_number_of_in_specs(make_mesh):
    mesh = make_mesh(2)
    for specs in ((ROWS, P(), P()), ()):
        with pytest.raises(ValueError, match="in_specs must be a single PartitionSpec"):
            potrs(A, B, 2, mesh, specs)
    with pytest.raises(ValueError, match="in_specs must be a single PartitionSpec"):
        cyclic_1d(A, 2, mesh, (ROWS, P()))


@pytest.mark.all_cases
@pytest.mark.parametrize("spec", [P(None, "x"), P(), P(None, None), P("x", None, None)])
@pytest.mark.parametrize("call", [lambda *args: potrs(A, B, *args), lambda *a: cyclic_1d(A, *a)])
def test_spec_must_be_row_sharded(make_mesh, call, spec):
    with pytest.raises(ValueError, match="A must be sharded along the rows"):
        call(2, make_mesh(2), spec)


def test_unknown_axis(make_mesh):
    with pytest.raises(ValueError, match=r"axis 'rows'.*\('x',\)"):
        potrs(A, B, 2, make_mesh(2), P("rows", None))


def test_spec_of_b(make_mesh):
    with pytest.raises(ValueError, match="b must be replicated"):
        potrs(A, B, 2, make_mesh(2), (ROWS, P("x")))


@pytest.mark.parametrize("tile", [0, -3])
def test_tile_size_of_the_old_names(make_mesh, tile):
    mesh = make_mesh(2)
    for call in (potrs, lambda a, b, *rest: cyclic_1d(a, *rest)):
        with pytest.raises(ValueError, match=f"T_A must be at least 1, got {tile}"):
            call(A, B, tile, mesh, ROWS)


def test_mesh_of_other_devices(make_mesh, devices):
    make_mesh(4)
    here, there = (Mesh(np.array(devices[i : i + 2]), ("x",)) for i in (0, 2))
    with pytest.raises(ValueError, match=r"a lives on the devices .*, but the mesh has"):
        potrs(put(A, here, "x", None), B, 2, there, ROWS)
    with pytest.raises(ValueError, match=r"b lives on the devices .*, but the mesh has"):
        linalg.solve(put(A, here, "x", None), put(B, there), assume_a="pos")


def test_type_of_mesh():
    with pytest.raises(TypeError, match="mesh must be a jax.sharding.Mesh"):
        potrs(A, B, 2, "x", ROWS)


def test_no_mesh():
    with pytest.raises(ValueError, match="no mesh"):
        potrs(A, B, 2, None, ROWS)


def test_utils():
    with pytest.raises(ValueError, match="NamedSharding"):
        jaxmg.get_mesh_and_spec_from_array(jnp.ones(3))
