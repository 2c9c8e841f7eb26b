"""The 0.0.x names potrs and potrs_shardmap_ctx, as existing code calls them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxmg import potrs, potrs_shardmap_ctx
from systems import ROWS, assert_solves, gaussian, positive_definite, put, set_mesh

N = 12
A = positive_definite(N)
B = gaussian((N, 2))


def check(x, b=B):
    assert_solves(A, x, b)
    assert x.shape == (N, b.size // N)
    assert x.sharding.is_fully_replicated


def test_the_program_of_the_readme(devices):
    mesh = jax.make_mesh((len(devices),), ("x",))
    a = jnp.diag(jnp.arange(N, dtype=jnp.float64) + 1)
    a = put(np.asarray(a), mesh, "x", None)
    b = put(np.ones((N, 1)), mesh, None, None)
    x = potrs(a, b, T_A=3, mesh=mesh, in_specs=(ROWS,))
    np.testing.assert_allclose(x.flatten(), 1 / np.arange(1, N + 1), rtol=1e-15)


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize(
    "specs", [ROWS, (ROWS,), [ROWS], (ROWS, P(None, None)), (ROWS, P(None)), (ROWS, P()), P("x")]
)
def test_forms_of_in_specs(make_mesh, axis_type, specs, jit):
    mesh = make_mesh(4, axis_type=axis_type)

    def call(a, b):
        return potrs(a, b, 3, mesh, specs)

    check((jax.jit(call) if jit else call)(put(A, mesh, "x", None), put(B, mesh)))


def test_optional_arguments(make_mesh, axis_type):
    mesh = make_mesh(4, axis_type=axis_type)
    a, b = put(A, mesh, "x", None), put(B, mesh)
    check(potrs(a, b))
    check(potrs(a, b, 4))
    check(potrs(a, b, 4, mesh))
    check(potrs(a, b, in_specs=ROWS))
    x, status = potrs(a, b, 3, mesh, ROWS, True, False)
    check(x)
    assert status.shape == () and status.dtype == np.int32 and status == 0


def test_vector_becomes_a_column(make_mesh, axis_type):
    mesh = make_mesh(3, axis_type=axis_type)
    b = gaussian((N,))
    check(potrs(put(A, mesh, "x", None), put(b, mesh), 2, mesh, ROWS), b)


@pytest.mark.parametrize("tile", [1, 2, 3, 5, 6, 64, 4096])
@pytest.mark.parametrize("pad", [False, True])
def test_any_tile(make_mesh, tile, pad):
    mesh = make_mesh(2)
    check(potrs(put(A, mesh, "x", None), put(B, mesh), tile, mesh, ROWS, pad=pad))


def where(name, mesh, devices):
    return {
        "numpy": A,
        "uncommitted": jnp.asarray(A),
        "first device": jax.device_put(A, devices[0]),
        "a device off the mesh": jax.device_put(A, devices[-1]),
        "columns": put(A, mesh, None, "x"),
        "replicated": put(A, mesh),
    }[name]


@pytest.mark.parametrize(
    "name",
    ["numpy", "uncommitted", "first device", "a device off the mesh", "columns", "replicated"],
)
def test_in_specs_say_how_the_call_sees_a_not_where_it_is(make_mesh, devices, axis_type, name):
    mesh = make_mesh(4, axis_type=axis_type)
    a, b = where(name, mesh, devices), put(B, mesh)
    check(potrs(a, b, 3, mesh, ROWS))
    check(jax.jit(lambda b: potrs(a, b, 3, mesh, ROWS))(b))


def test_nothing_on_the_mesh(make_mesh, axis_type):
    mesh = make_mesh(4, axis_type=axis_type)
    check(jax.jit(lambda a, b: potrs(a, b, 3, mesh, ROWS))(A, B))
    check(jax.jit(lambda: potrs(A, B, 3, mesh, ROWS))())


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_abstract_mesh(make_mesh, axis_type, jit):
    mesh = make_mesh(4, axis_type=axis_type)

    def call(a, b):
        return potrs(a, b, 3, jax.sharding.get_abstract_mesh(), ROWS)

    with set_mesh(mesh):
        check((jax.jit(call) if jit else call)(put(A, mesh, "x", None), put(B, mesh)))


def test_reversed_mesh_of_the_same_devices(make_mesh, axis_type):
    mesh = make_mesh(4, axis_type=axis_type)
    backwards = Mesh(mesh.devices[::-1], ("x",), axis_types=mesh.axis_types)
    check(potrs(put(A, mesh, "x", None), put(B, mesh), 2, backwards, ROWS))


def test_tile_size_of_netket(make_mesh, axis_type):
    mesh = make_mesh(4, axis_type=axis_type)

    @jax.jit
    def call(a, b):
        mesh = jax.sharding.get_abstract_mesh()
        return potrs(a, b, min(4096, max(64, N // 4)), mesh, P("x", None))

    with set_mesh(mesh):
        check(call(put(A, mesh, "x", None), put(B, mesh)))


# --- inside shard_map -------------------------------------------------------------------------


def in_shard_map(mesh, spec, b=B, check_vma=True, **options):
    call = jax.shard_map(
        lambda a, b: potrs_shardmap_ctx(a, b, 3, **options),
        mesh=mesh,
        in_specs=(spec, P(None, None)),
        out_specs=(P(None, None), P(None)),
        check_vma=check_vma,
    )
    return jax.jit(call)(put(A, mesh, *spec), put(b, mesh, None, None))


def test_shardmap_ctx(make_mesh, axis_type):
    for ranks in (1, 2, 3, 4):
        x, status = in_shard_map(make_mesh(ranks, axis_type=axis_type), ROWS, pad=False)
        check(x)
        assert status.shape == (1,) and status.dtype == np.int32 and status[0] == 0


def test_shardmap_ctx_with_many_right_hand_sides(make_mesh):
    b = gaussian((N, 131))
    check(in_shard_map(make_mesh(4), ROWS, b)[0], b)


def test_shardmap_ctx_on_a_grid(make_mesh):
    check(in_shard_map(make_mesh(4, 2), ROWS)[0])
    check(in_shard_map(make_mesh(4, 2), P("y", None))[0])
    check(in_shard_map(make_mesh(2, 2), P(("x", "y"), None))[0])
    check(in_shard_map(make_mesh(2, 2), P("y", None), axis_name="y")[0])
    # Which axis it is shows in the type of a, unless the caller switches that off.
    check(in_shard_map(make_mesh(2, 2), ROWS)[0])
    check(in_shard_map(make_mesh(2, 2), P("y", None))[0])
    with pytest.raises(ValueError, match="several axes.*axis_name"):
        in_shard_map(make_mesh(2, 2), ROWS, check_vma=False)


def test_shardmap_ctx_failure(make_mesh):
    mesh = make_mesh(4)
    call = jax.shard_map(
        lambda a, b: potrs_shardmap_ctx(-a, b, 3),
        mesh=mesh,
        in_specs=(ROWS, P(None, None)),
        out_specs=(P(None, None), P(None)),
    )
    x, status = call(put(A, mesh, "x", None), put(B, mesh))
    assert np.isnan(x).all() and status.tolist() == [7]


def test_shardmap_ctx_wrong_calls(make_mesh):
    with pytest.raises(ValueError, match="inside jax.shard_map"):
        potrs_shardmap_ctx(jnp.asarray(A), jnp.asarray(B), 3)
    with pytest.raises(ValueError, match="b must be a 2D array"):
        potrs_shardmap_ctx(jnp.asarray(A), jnp.ones(N), 3)
    with pytest.raises(ValueError, match="no axis of the mesh"):
        in_shard_map(make_mesh(2), P(None, None))
