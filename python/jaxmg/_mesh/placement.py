"""Placement of concrete arrays on the devices of a call, and of results."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxmg._mesh.entering import entered_mesh
from jaxmg._mesh.finding import check_blocks, mesh_of, mesh_of_one
from jaxmg._mesh.programs import pad_rows_to
from jaxmg._mesh.ranks import Ranks
from jaxmg._mesh.specs import spec_on
from jaxmg._mesh.tracing import is_committed, is_staged, is_traced, on_one_device


def converted(array, dtype):
    """Convert an array to another dtype without moving it."""
    if array.dtype == dtype:
        return array
    if not isinstance(array, jax.Array):
        return array.astype(dtype)
    mesh = mesh_of(array)
    if mesh is None and is_committed(array):
        mesh = mesh_of_one(array)
    with entered_mesh(mesh):
        return array.astype(dtype)


def place(array, name: str, ranks: Ranks, spec: PartitionSpec, *, gather=False) -> jax.Array:
    """Move a concrete array to the devices of `ranks`, with the spec `spec`, if it is elsewhere.

    An array on several other devices is moved only with `gather`.
    """
    _check_type(array, name, ranks)
    if not isinstance(ranks.mesh, Mesh) or is_traced(array):
        return jnp.asarray(array)
    if not isinstance(array, jax.Array):
        return jax.device_put(array, NamedSharding(ranks.mesh, spec))
    sharding = array.sharding
    if isinstance(sharding, NamedSharding) and sharding.mesh == ranks.mesh:
        return array
    devices = set(ranks.mesh.devices.flat)
    if len(sharding.device_set) > 1 and sharding.device_set != devices and not gather:
        raise ValueError(
            f"{name} lives on the devices {_device_ids(sharding.device_set)}, but the mesh has "
            f"the devices {_device_ids(devices)}: put {name} on the mesh, or pass its own mesh"
        )
    return _moved(array, NamedSharding(ranks.mesh, spec))


def _check_type(array, name: str, ranks: Ranks) -> None:
    """Raise if the type of a traced array names another Explicit mesh."""
    if ranks.mesh is None or not isinstance(array, jax.Array) or not is_staged():
        return
    mesh, expected = jax.typeof(array).sharding.mesh, ranks.mesh
    expected = expected.abstract_mesh if isinstance(expected, Mesh) else expected
    if mesh.explicit_axes and mesh != expected:
        raise ValueError(
            f"{name} is on the mesh {mesh}, but the mesh of the call is {expected}: put {name} on "
            "that mesh before jit, or set its own mesh with jax.set_mesh"
        )


def place_scalar(value, ranks: Ranks, matrix):
    """Move a concrete scalar to the devices of a placed matrix."""
    if is_traced(value) or is_staged():
        return value
    if ranks.processes > 1:  # Every process has the value; the program embeds it.
        return value if spec_on(value, ranks.mesh) is not None else np.asarray(value)
    if isinstance(ranks.mesh, Mesh):
        return _moved(value, NamedSharding(ranks.mesh, PartitionSpec()))
    if ranks.mesh is None and is_committed(matrix):
        return _moved(value, matrix.sharding)
    return value


def put_blocks(mesh: Mesh, axes: tuple[str, ...], size: int, blocks, scalar):
    """Put a factor's contents and a scalar on a mesh."""
    check_blocks(mesh, axes, size)
    rows = NamedSharding(mesh, PartitionSpec(axes or None, None))
    return jax.device_put((blocks, scalar), (rows, NamedSharding(mesh, PartitionSpec())))


def place_all(ranks: Ranks, a, *others, gather=False):
    """Move concrete arrays to the ranks' devices; a becomes (padded) row blocks if it is moved.

    Right-hand sides on several other devices are moved only with `gather`.
    """
    if ranks.mesh is None:
        return a, *(_beside(other, a) for other in others)
    return (
        *place_matrices(ranks, a=a),
        *(place(other, "b", ranks, PartitionSpec(), gather=gather) for other in others),
    )


def place_matrices(ranks: Ranks, **matrices):
    """Move concrete N x N matrices to the ranks' devices, in (padded) row blocks if moved."""
    if ranks.mesh is None:
        first, *others = matrices.values()
        return first, *(_beside(other, first) for other in others)

    def placed(name, matrix):
        if on_one_device(matrix):
            matrix = pad_rows_to(matrix, ranks.padded_rows(matrix.shape[1]))
        divisible = matrix.shape[0] % ranks.size == 0
        return place(matrix, name, ranks, ranks.rows if divisible else PartitionSpec())

    return tuple(placed(name, matrix) for name, matrix in matrices.items())


def place_matrix(ranks: Ranks, a):
    """Move a concrete m x n matrix to the ranks' devices.

    A matrix that is moved is sharded over rows if they divide evenly, else over columns if they do.
    """
    if ranks.mesh is None:
        return a
    even = [
        spec for i, spec in enumerate((ranks.rows, ranks.columns)) if a.shape[i] % ranks.size == 0
    ]
    return place(a, "a", ranks, (*even, PartitionSpec())[0])


def place_beside(ranks: Ranks, a, b):
    """Move a concrete right-hand side to the devices of a call whose matrix has been placed."""
    if ranks.mesh is None:
        return _beside(b, a)
    return place(b, "b", ranks, PartitionSpec(), gather=ranks.size == 1)


def _beside(array, a):
    """Move an array to the single device of a."""
    if is_committed(a) and is_committed(array) and a.sharding != array.sharding:
        return _moved(array, a.sharding)
    return array


def keep_sharding(x: jax.Array, like) -> jax.Array:
    """Move a concrete result to the sharding to which `like` is committed."""
    if is_traced(x) or not is_committed(like):
        return x
    if x.sharding.is_equivalent_to(like.sharding, x.ndim):
        return x
    return _moved(x, like.sharding)


def keep_even_sharding(x: jax.Array, like) -> jax.Array:
    """Move a concrete result to the sharding of `like`, of another shape, if that divides it."""
    if is_traced(x) or not is_committed(like):
        return x
    try:
        like.sharding.shard_shape(x.shape)
    except ValueError:
        return x
    return keep_sharding(x, like)


def _moved(array, sharding):
    """Return an array with another sharding."""
    with entered_mesh(mesh_of(array)):  # JAX 0.6 slices it in between.
        return jax.device_put(array, sharding)


def _device_ids(devices) -> list[int]:
    return sorted(device.id for device in devices)
