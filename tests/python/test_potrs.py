"""potrs and potrs_shardmap_ctx, as called by code for JAXMg 0.0.x and 1.4."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxmg import linalg, potrs, potrs_shardmap_ctx
from systems import (
    ROWS,
    assert_solves,
    gaussian,
    pairwise,
    positive_definite,
    put,
    set_mesh,
    spelled,
)

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


@pytest.mark.parametrize(
    ("specs", "axis_type", "jit"),
    pairwise([ROWS, (ROWS,), [ROWS], (ROWS, P(None, None)), (ROWS, P(None)), (ROWS, P()), P("x")]),
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


@pytest.mark.numerics
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
def test_a_is_moved_to_in_specs(make_mesh, devices, axis_type, name):
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


@pytest.mark.parametrize(
    ("options", "axis_type", "jit"),
    pairwise([
        {"matrix_specs": ROWS},
        {"matrix_specs": [P(None, "x")]},
        {"matrix_specs": P("x", "y")},
        {"matrix_specs": P(("y", "x"), None)},
        {"matrix_specs": P()},
        {"matrix_specs": ROWS, "in_specs": (P("x"), P())},
        {"matrix_specs": None, "in_specs": None},
    ]),
    ids=str,
)  # fmt: skip
def test_matrix_specs(make_mesh, axis_type, options, jit):
    mesh = make_mesh(2, 2, axis_type=axis_type)

    def call(a, b):
        return potrs(a, b, 3, mesh=mesh, **options)

    for spec in (ROWS, P("x", "y")):
        check((jax.jit(call) if jit else call)(put(A, mesh, *spec), put(B, mesh)))


def test_wrong_specs(make_mesh):
    mesh = make_mesh(2)
    for texts in (
        "A must be sharded along the columns",
        "A must be sharded along the rows with PartitionSpec P(str, None)",
        "got in_specs PartitionSpec(None, 'x')",
        "matrix_specs",
    ):
        with pytest.raises(ValueError, match=spelled(texts)):
            potrs(A, B, 2, mesh, P(None, "x"))
    of_type = "in_specs must be a PartitionSpec or a 1-element list/tuple containing one"
    with pytest.raises(TypeError, match="^" + spelled(of_type)):
        potrs(A, B, 2, mesh, "x")
    with pytest.raises(ValueError, match="^in_specs must be a single PartitionSpec"):
        potrs(A, B, 2, mesh, (ROWS, P(), P()))
    with pytest.raises(TypeError, match="^matrix_specs must be a PartitionSpec"):
        potrs(A, B, 2, mesh, matrix_specs="x")
    with pytest.raises(ValueError, match="^matrix_specs must be a single PartitionSpec"):
        potrs(A, B, 2, mesh, matrix_specs=(ROWS, P()))
    with pytest.raises(ValueError, match="^matrix_specs must have at most 2 entries"):
        potrs(A, B, 2, mesh, matrix_specs=P("x", None, None))
    with pytest.raises(ValueError, match="matrix_specs names the axis 'rows'"):
        potrs(A, B, 2, mesh, matrix_specs=P("rows", None))
    with pytest.raises(ValueError, match="in_specs and matrix_specs .* differ for a"):
        potrs(A, B, 2, mesh, ROWS, matrix_specs=P(None, "x"))


# --- on global arrays, as in 1.4 --------------------------------------------------------------


@pytest.mark.parametrize(
    ("b", "b_spec"), [(B[:, 0], ()), (B[:, 0], ("x",)), (B, ()), (B, ("y", "x")), (B[:, :1], ())]
)
@pytest.mark.parametrize(
    ("spec", "axis_type", "jit"),
    pairwise([("x", None), (None, "y"), ("x", "y"), (("x", "y"), None), ()]),
)
def test_ctx_on_global_arrays(make_mesh, axis_type, jit, spec, b, b_spec):
    mesh = make_mesh(2, 2, axis_type=axis_type)
    a, on_mesh = put(A, mesh, *spec), put(b, mesh, *b_spec)
    call = jax.jit(potrs_shardmap_ctx, static_argnums=2) if jit else potrs_shardmap_ctx
    with set_mesh(mesh):
        for _ in range(2):  # Nothing was donated.
            _, x, status = call(a, on_mesh, 3)
    assert x.shape == b.shape
    assert_solves(A, x, b)
    assert status.shape == () and status.dtype == np.int32 and status == 0
    if axis_type == "Explicit" or not jit:
        assert x.sharding.is_equivalent_to(on_mesh.sharding, x.ndim)


def test_ctx_on_global_arrays_of_one_device_and_of_the_host(devices):
    for a in (A, jax.device_put(A, devices[-1])):
        _, x, status = potrs_shardmap_ctx(a, B, T_A=4, pad=False)
        assert_solves(A, x, B)
        assert status == 0


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_ctx_where_the_caller_names_mesh_and_specs(make_mesh, axis_type, jit):
    mesh = make_mesh(2, 2, axis_type=axis_type)
    for options in (
        {"mesh": mesh},
        {"mesh": mesh, "in_specs": ROWS},
        {"mesh": mesh, "in_specs": (ROWS, P())},
        {"mesh": mesh, "matrix_specs": P("x", "y")},
    ):

        def call(a, b, options=options):
            return potrs_shardmap_ctx(a, b, T_A=3, **options)

        _, x, _ = (jax.jit(call) if jit else call)(put(A, mesh, "x", None), put(B, mesh))
        assert_solves(A, x, B)


@pytest.mark.skipif(
    not hasattr(jax.sharding, "get_mesh"), reason="needs jax.sharding.get_mesh, of JAX 0.8"
)
@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_ctx_on_another_abstract_mesh_than_the_concrete_one(make_mesh, axis_type, jit):
    """NetKet reshards a matrix to a grid inside jit, while its own mesh is set."""
    mesh, grid = (make_mesh(*shape, axis_type=axis_type) for shape in ((4,), (2, 2)))

    def call(a, b):
        a = jax.device_put(a, NamedSharding(grid, P("x", "y")))
        b = jax.device_put(b, NamedSharding(grid, P()))
        with jax.sharding.use_abstract_mesh(grid.abstract_mesh):
            _, x, _ = potrs_shardmap_ctx(a, b, T_A=3)
            return x

    with set_mesh(mesh):
        x = (jax.jit(call) if jit else call)(put(A, mesh, "x", None), put(B, mesh))
    assert_solves(A, x, B)


def test_ctx_failure_on_global_arrays(make_mesh, axis_type):
    mesh = make_mesh(4, axis_type=axis_type)
    _, x, status = jax.jit(potrs_shardmap_ctx)(put(-A, mesh, "x", None), put(B, mesh))
    assert np.isnan(x).all() and status == 7


def test_ctx_has_the_derivatives_of_solve(make_mesh):
    mesh = make_mesh(4)
    a, b = put(A, mesh, "x", None), put(B, mesh)

    def made(a, b):
        return jnp.sum(potrs_shardmap_ctx(a, b, 3)[1] ** 2)

    def known(a, b):
        return jnp.sum(linalg.solve(a, b, assume_a="pos") ** 2)

    gradients = (jax.jit(jax.grad(loss, argnums=(0, 1)))(a, b) for loss in (made, known))
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11)


# --- inside shard_map -------------------------------------------------------------------------


def in_shard_map(mesh, spec, b=B, /, check_vma=True, **options):
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
    # The type of a names the axis, unless check_vma is False.
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
    with pytest.raises(ValueError, match="axis_name is for calls inside shard_map.*matrix_specs"):
        potrs_shardmap_ctx(jnp.asarray(A), jnp.asarray(B), 3, axis_name="x")
    with pytest.raises(ValueError, match="b must be a 1D or 2D array"):
        potrs_shardmap_ctx(jnp.asarray(A), jnp.ones((N, 1, 1)), 3)
    with pytest.raises(ValueError, match="a must be a square matrix"):
        potrs_shardmap_ctx(jnp.asarray(A[:6]), jnp.ones(N), 3)
    with pytest.raises(ValueError, match="no axis of the mesh"):
        in_shard_map(make_mesh(2), P(None, None))
    with pytest.raises(ValueError, match="2D array inside shard_map"):
        jax.shard_map(
            lambda a, b: potrs_shardmap_ctx(a, b[:, 0], 3),
            mesh=make_mesh(2),
            in_specs=(ROWS, P(None, None)),
            out_specs=(P(None, None), P(None)),
            check_vma=False,
        )(A, B)


def test_shardmap_ctx_where_the_caller_names_mesh_and_specs(make_mesh):
    grid = make_mesh(2, 2)
    for options in (
        {"matrix_specs": P("y", None)},
        {"in_specs": P("y")},
        {"in_specs": (P("y"), P()), "matrix_specs": P("y", None), "axis_name": "y"},
        {"mesh": grid, "matrix_specs": P("y", None), "axis_name": ("y",)},
    ):
        x, status = in_shard_map(grid, P("y", None), **options)
        check(x)
        assert status.tolist() == [0]
    for options, message in (
        ({"mesh": make_mesh(4)}, "mesh must be the mesh of the enclosing shard_map"),
        ({"matrix_specs": P("y", None), "axis_name": "x"}, "different axes"),
        ({"matrix_specs": P("x", "y")}, "a must be in shards of rows"),
        ({"matrix_specs": P(("x", "y"), None)}, "4 ranks along .* have shards of 3 rows"),
        ({"axis_name": "z"}, "axis_name must name axes of the enclosing shard_map"),
    ):
        with pytest.raises(ValueError, match=message):
            in_shard_map(grid, P("y", None), **options)
