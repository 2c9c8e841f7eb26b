"""Finding the mesh and the ranks of a call, from arrays, meshes and specs.

Routines work on matrices in row shards, ``P(axes, None)``. XLA reshards arrays of any other
sharding inside the program.
"""

import contextlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from jaxmg._mesh.ranks import Ranks
from jaxmg._mesh.specs import size_of, spread_axes
from jaxmg._mesh.tracing import is_committed, is_staged, is_traced, on_one_device


def ranks_of(*arrays) -> Ranks:
    """Return the ranks of a call: the devices of the first array that is on several devices.

    If no array is, the ranks are the devices of the mesh that is set. If the first array is
    committed to one device, the call runs there.
    """
    mesh = _mesh_of_call(arrays)
    if mesh is None or mesh.size == 1:
        return make_ranks(mesh, (), arrays)
    for array in arrays:
        found, spec = _mesh_and_spec(array)
        if found is not None and found.shape_tuple == mesh.shape_tuple:
            return make_ranks(mesh, spread_axes(mesh, spec), arrays)
    return make_ranks(mesh, tuple(mesh.axis_names), arrays)


def mesh_of(array):
    """Return the mesh of an array's sharding or type, or None."""
    return _mesh_and_spec(array)[0]


def ranks_of_blocks(blocks, axes: tuple[str, ...], size: int, *others, mesh=None) -> Ranks:
    """Return the `size` ranks along `axes` of the mesh of a factor's contents.

    If their type names no mesh, it is `mesh`, or the mesh of `others`, or the mesh that is set. The
    contents of one rank fit every mesh: they are replicated unless they are on one device.
    """
    if size == 1:
        mesh = _mesh_of_call((blocks, *others), stays=True) or mesh
        return make_ranks(mesh, (), (blocks, *others))
    if is_staged():
        mesh = _mesh_of_call((blocks, *others)) or mesh
    else:
        mesh = mesh_of(blocks) or mesh or _mesh_of_call((*others, blocks))
    if mesh is None:
        raise ValueError(
            f"the factor was made on {size} ranks along {axes}, but it is not on a mesh: put it on "
            "one with factor.to_mesh(mesh), or set one with jax.set_mesh"
        )
    check_blocks(mesh, axes, size)
    return make_ranks(mesh, axes, (blocks, *others))


def check_blocks(mesh, axes: tuple[str, ...], size: int) -> None:
    if any(axis not in mesh.shape for axis in axes) or size_of(mesh, axes) != size:
        raise ValueError(
            f"the factor was made on {size} ranks along {axes}, but the mesh is "
            f"{dict(mesh.shape)}: factor the matrix on that mesh, or put b on the factor's mesh"
        )


def ranks_on(mesh, axes: tuple[str, ...], arrays: Sequence) -> Ranks:
    """Return the ranks along `axes` of a mesh given by the caller."""
    if not is_traced(*arrays):
        mesh = _concrete(mesh, arrays)
    if isinstance(mesh, Mesh) and is_traced(*arrays) and _on_no_mesh(arrays):
        # With Auto axes, XLA takes the devices from the mesh. With Explicit axes, it takes them
        # from arguments or the mesh that is set; here there is neither.
        mesh = Mesh(mesh.devices, mesh.axis_names)
    return make_ranks(mesh, axes, arrays)


def make_ranks(mesh, axes: tuple[str, ...], arrays: Sequence) -> Ranks:
    processes = _processes(mesh)
    hosts = _hosts(mesh) if processes > 1 else 1
    return Ranks(mesh, axes, _platform(mesh, arrays), processes, hosts)


def given_mesh(mesh, arrays: Sequence):
    """Return the mesh given as an argument; for None or an empty mesh, the mesh of the arrays."""
    if mesh is not None and not isinstance(mesh, (Mesh, AbstractMesh)):
        raise TypeError(f"mesh must be a jax.sharding.Mesh or AbstractMesh, got {type(mesh)}")
    if mesh is None or mesh.empty:
        mesh = ranks_of(*arrays).mesh
        if mesh is None:
            raise ValueError(
                "no mesh: pass mesh=, put the arrays on one with a NamedSharding, or set one with "
                "jax.set_mesh"
            )
    return mesh


def concrete(ranks: Ranks | None, size: int) -> Ranks:
    """Return `size` ranks on a concrete mesh: `ranks`, or local GPUs if their mesh is abstract."""
    if ranks is not None and isinstance(ranks.mesh, Mesh):
        return make_ranks(Mesh(ranks.mesh.devices, ranks.mesh.axis_names), ranks.axes, ())
    devices = jax.devices("gpu")
    if len(devices) < size:
        raise ValueError(
            f"planning a call on {size} GPUs requires as many in this process: got {len(devices)}"
        )
    return make_ranks(Mesh(np.array(devices[:size]), ("ranks",)), ("ranks",), ())


def _mesh_and_spec(array):
    """Return (mesh, spec) of an array; (None, None) if its sharding or type names no mesh."""
    sharding = getattr(array, "sharding", None) if not is_traced(array) else None
    if isinstance(sharding, NamedSharding) and isinstance(sharding.mesh, Mesh):
        return sharding.mesh, sharding.spec
    if sharding is not None and len(sharding.device_set) > 1:
        devices = sorted(sharding.device_set, key=lambda device: device.id)
        return Mesh(np.array(devices), ("ranks",)), PartitionSpec("ranks", None)
    if is_traced(array):
        sharding = jax.typeof(array).sharding
        if not sharding.mesh.empty and not sharding.mesh.manual_axes:
            known = sharding.spec if sharding.mesh.explicit_axes else PartitionSpec()
            return sharding.mesh, known
    return None, None


def _mesh_of_call(arrays: Sequence, *, stays=False):
    """Return the mesh on which a call with these arrays runs, or None on a single device.

    With `stays`, the first array decides even if it is uncommitted on one device, as long as the
    others can be moved there.
    """
    if jax.sharding.get_abstract_mesh().manual_axes:
        return None
    first, context = arrays[0], context_mesh()
    known = [(array, mesh) for array in arrays if (mesh := mesh_of(array)) is not None]
    if is_staged():
        if context is not None:
            return context
        # Concrete arrays are constants of the program, which runs on the devices of its arguments.
        # (Arrays of an Explicit mesh cannot be moved to another mesh.)
        meshes = [
            (not is_traced(array), not mesh.explicit_axes, i, mesh)
            for i, (array, mesh) in enumerate(known)
            if is_traced(array) or mesh.explicit_axes or mesh.size > 1
        ]
        # The mesh of a constant is concrete, and may be the only source of the devices.
        return _concrete(min(meshes)[-1], arrays) if meshes else None
    if stays and isinstance(first, jax.Array) and on_one_device(first):
        stays = all(not is_traced(array) and array.is_fully_addressable for array, _ in known)
    else:
        stays = False
    spread = [mesh for _, mesh in known if mesh.size > 1]
    if spread and not stays:
        return _concrete(spread[0], arrays)
    if context is None and not known:
        return None
    if stays or is_committed(first):
        return mesh_of(first) or mesh_of_one(first)
    return known[0][1] if context is None else context


def mesh_of_one(array) -> Mesh:
    """Return a one-device mesh of a concrete array's device."""
    return Mesh(np.array(list(array.sharding.device_set)), ("ranks",))


def context_mesh():
    """Return the mesh that is set, concrete outside ``jit``; None without one."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.manual_axes:
        return None
    # A result computed here is on that mesh. (`get_mesh` is newer, and raises inside `grad`.)
    sharding = None if is_traced(result := _nothing()) else result.sharding
    concrete = getattr(sharding, "mesh", None)
    return concrete if isinstance(concrete, Mesh) and concrete.abstract_mesh == mesh else mesh


@jax.jit
def _nothing():
    return jnp.zeros((), np.int32)


def _on_no_mesh(arrays) -> bool:
    """Return whether neither the (traced) arrays nor the context have a mesh."""
    meshes = [jax.typeof(array).sharding.mesh for array in arrays]
    return all(mesh.empty for mesh in [*meshes, jax.sharding.get_abstract_mesh()])


def _concrete(mesh, arrays: Sequence):
    """Return the concrete mesh of an abstract mesh, or the abstract mesh if none is known."""
    if isinstance(mesh, Mesh):
        return mesh
    for found in (*map(mesh_of, arrays), context_mesh()):
        if isinstance(found, Mesh) and found.abstract_mesh == mesh:
            return found
    return mesh


def _platform(mesh, arrays: Sequence) -> str:
    if isinstance(mesh, Mesh):
        return mesh.devices.flat[0].platform
    abstract = jax.sharding.get_abstract_mesh() if mesh is None else mesh
    device = getattr(abstract, "abstract_device", None)  # Since JAX 0.7.
    if device is not None:
        return _platform_of_kind(device)
    for array in arrays:
        if not is_traced(array) and isinstance(array, jax.Array):
            return next(iter(array.sharding.device_set)).platform
    return jax.default_backend()


def _platform_of_kind(device) -> str:
    """Return the platform of an abstract device, which has only its kind until JAX 0.10.1."""
    if hasattr(device, "platform"):
        return device.platform
    for platform in ("gpu", "cpu"):
        with contextlib.suppress(RuntimeError):  # JAX has no such platform.
            if jax.devices(platform)[0].device_kind == device.device_kind:
                return platform
    return jax.default_backend()


def _processes(mesh) -> int:
    """Return the number of processes of a mesh (an upper bound for an abstract mesh)."""
    if mesh is None:
        return 1
    if isinstance(mesh, Mesh):
        return len({device.process_index for device in mesh.devices.flat})
    return jax.process_count()


def _hosts(mesh) -> int:
    """Return the number of machines that a mesh spans (an upper bound for an abstract mesh)."""
    devices = mesh.devices.flat if isinstance(mesh, Mesh) else jax.devices()
    # JAX numbers machines as slices, as it does groups of TPUs.
    return len({getattr(device, "slice_index", 0) for device in devices})
