"""jaxmg.linalg.solve for all shardings of a and b, inside and outside jit; x keeps b's sharding."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxmg import linalg
from systems import assert_solves, gaussian, pairwise, positive_definite, put, set_mesh

N = 16
A = positive_definite(N)


def solve(a, b):
    return linalg.solve(a, b, assume_a="pos")


def on_mesh(mesh, spec):
    return NamedSharding(mesh, P(*spec))


LINE_A = [("x", None), (None, "x"), ()]
GRID_A = [("x", "y"), ("y", "x"), (("x", "y"), None), ("x", None), (None, "y"), ()]
LINE_B = [((N,), ()), ((N,), ("x",)), ((N, 3), ("x", None)), ((N, 72), (None, "x"))]
GRID_B = [((N, 3), ("y", None)), ((N, 8), ("x", "y")), ((N,), (("x", "y"),))]


@pytest.mark.parametrize("entered", [False, True], ids=["", "set_mesh"])
@pytest.mark.parametrize(
    ("shardings", "axis_type", "jit"),
    pairwise(
        [((4,), a_spec, *b) for a_spec in LINE_A for b in LINE_B]
        + [((4, 2), a_spec, *GRID_B[i % 3]) for i, a_spec in enumerate(GRID_A)]
    ),
)
def test_every_sharding(make_mesh, axis_type, shardings, jit, entered):
    mesh_shape, a_spec, b_shape, b_spec = shardings
    mesh = make_mesh(*mesh_shape, axis_type=axis_type)
    b = gaussian(b_shape)
    a_on = jax.device_put(A, on_mesh(mesh, a_spec))
    b_on = jax.device_put(b, on_mesh(mesh, b_spec))
    with set_mesh(mesh) if entered else contextlib.nullcontext():
        x = (jax.jit(solve) if jit else solve)(a_on, b_on)
    assert_solves(A, x, b)
    assert x.shape == b.shape
    if not jit or axis_type == "Explicit":
        assert x.sharding.is_equivalent_to(b_on.sharding, b.ndim)


@pytest.mark.parametrize("n", [13, 18])
@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_two_dimensional_sharding_of_a_ragged_matrix(make_mesh, axis_type, n, jit):
    mesh = make_mesh(2, 2, axis_type=axis_type)
    a, b = positive_definite(n), gaussian((n,))
    x = (jax.jit(solve) if jit else solve)(put(a, mesh, "x", "y"), put(b, mesh, "x"))
    assert_solves(a, x, b)


def test_on_one_device(devices):
    b = gaussian((N, 2))
    assert_solves(A, solve(A, b), b)
    assert_solves(A, jax.jit(solve)(A, b), b)
    assert not solve(A, b).committed
    last = jax.device_put(A, devices[-1])
    x = solve(last, jax.device_put(b, devices[-1]))
    assert_solves(A, x, b)
    assert x.devices() == {devices[-1]}


def test_on_one_device_inside_a_mesh_context(make_mesh, axis_type):
    mesh = make_mesh(2, axis_type=axis_type)
    b = gaussian((N,))
    with set_mesh(mesh):
        assert_solves(A, solve(jax.device_put(A, jax.devices()[0]), b), b)
        assert_solves(A, solve(A, b), b)


def test_b_elsewhere(make_mesh, devices, axis_type):
    mesh = make_mesh(2, axis_type=axis_type)
    b = gaussian((N,))
    a_on = put(A, mesh, "x", None)
    x = solve(a_on, b)
    assert_solves(A, x, b)
    assert x.devices() == set(mesh.devices.flat)
    x = solve(a_on, jax.device_put(b, devices[-1]))
    assert_solves(A, x, b)
    assert x.devices() == {devices[-1]}
    assert_solves(A, solve(A, put(b, mesh, "x")), b)


def test_device_order_and_subsets(make_mesh, devices, axis_type):
    mesh = make_mesh(4, axis_type=axis_type)
    b = gaussian((N,))
    orders = ([3, 2, 1, 0], [2, 0, 3, 1], [1, 2], [3, 1, 2], [2])
    for order in orders:
        part = Mesh(np.array(devices)[order], ("x",), axis_types=mesh.axis_types)
        assert_solves(A, solve(put(A, part, "x", None), put(b, part)), b)


def test_an_axis_whose_other_axis_holds_copies(make_mesh, axis_type):
    mesh = make_mesh(2, 4, axis_type=axis_type)
    b = gaussian((N, 2))
    for axis in "xy":
        x = solve(put(A, mesh, axis, None), put(b, mesh))
        assert_solves(A, x, b)
        assert x.sharding.is_fully_replicated


def test_another_mesh_in_context(make_mesh, axis_type):
    mesh = make_mesh(4, axis_type=axis_type)
    other = make_mesh(2, axis_type=axis_type, names="q")
    b = gaussian((N,))
    with set_mesh(other):
        assert_solves(A, solve(put(A, mesh, "x", None), put(b, mesh)), b)


def test_inside_shard_map_each_rank_solves_its_own(make_mesh):
    mesh = make_mesh(4)
    b = gaussian((N,))
    stack = put(np.stack([A * (i + 1) for i in range(4)]), mesh, "x")
    each = jax.shard_map(
        lambda a, b: solve(a[0], b)[None],
        mesh=mesh,
        in_specs=(P("x"), P()),
        out_specs=P("x"),
    )
    for i, x in enumerate(np.asarray(jax.jit(each)(stack, b))):
        assert_solves(A * (i + 1), x, b)


def test_vmap_over_right_hand_sides(make_mesh):
    mesh = make_mesh(4)
    b = gaussian((3, N))
    x = jax.vmap(lambda b: solve(put(A, mesh, "x", None), b))(put(b, mesh))
    for x_i, b_i in zip(np.asarray(x), b, strict=True):
        assert_solves(A, x_i, b_i)


@pytest.mark.parametrize("function", ["inv", "cholesky", "solve", "eigh"])
def test_rows_that_divide_among_a_part_of_the_devices(make_mesh, function):
    """XLA may shard 12 rows over 4 of 8 devices, which JAX 0.9 could not express."""
    mesh = make_mesh(8)
    a = put(positive_definite(12), mesh)

    def call(a):
        if function == "solve":
            return linalg.solve(a, a, assume_a="pos")
        result = getattr(linalg, function)(a, **({"assume_a": "pos"} if function == "inv" else {}))
        return result[1] if function == "eigh" else result

    np.testing.assert_array_equal(call(a), jax.jit(call)(a))
    gradient = jax.jit(jax.grad(lambda a: jnp.sum(abs(call(a)) ** 2)))(a)
    assert gradient.shape == a.shape and np.isfinite(gradient).all()
