"""Who takes part in a call: (arrays, mesh, specs) -> the ranks, and the one use of ``shard_map``.

A matrix is always worked on in row shards, ``P(axes, None)``. Arrays that come otherwise are moved
by XLA inside the program. Explicit mesh axes are made Auto for the duration of a call
(``auto_axes``), so only one kind of mesh is dealt with below.
"""

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from jaxmg import _varying

try:
    from jax.sharding import auto_axes
except ImportError:  # JAX < 0.7
    from jax.experimental.shard import auto_axes

_set_mesh = getattr(jax, "set_mesh", None) or jax.sharding.use_mesh
# XLA may shard rows that do not divide evenly over a part of a mesh axis, and JAX 0.9 fails on such
# a result of a program. There, these results are replicated, and operands whose gradients they are.
_UNEVEN_RESULTS_FAIL = jax.__version_info__[:2] == (0, 9)


@dataclass(frozen=True)
class Ranks:
    """The devices of one call: rank r is the r-th device along `axes` of `mesh`.

    `mesh` is None on a single device outside any mesh; `axes` are then empty. The devices along
    the other axes of the mesh do the same work on copies.
    """

    mesh: Mesh | AbstractMesh | None
    axes: tuple[str, ...]
    platform: str
    processes: int
    hosts: int

    @property
    def size(self) -> int:
        return _size(self.mesh, self.axes)

    @property
    def rows(self) -> PartitionSpec:
        """The spec of a matrix whose rows are dealt to the ranks in blocks."""
        return PartitionSpec(self.axes or None, None)

    @property
    def columns(self) -> PartitionSpec:
        """The spec of a matrix whose columns are dealt to the ranks in blocks."""
        return PartitionSpec(None, self.axes or None)

    def shard_rows(self, n: int) -> int:
        """Rows of each rank's block of an n-row matrix (the last blocks end in padding)."""
        return -(-n // self.size)

    def padded_rows(self, n: int) -> int:
        """Rows of all blocks together."""
        return self.size * self.shard_rows(n)


def is_traced(*arrays) -> bool:
    return any(isinstance(array, jax.core.Tracer) for array in arrays)


def is_staged() -> bool:
    """Say whether a program is being traced: what is computed here and now is a tracer."""
    return is_traced(jax.lax.iota(np.int32, 1))  # It has no operands, so that nothing is moved.


def is_committed(array) -> bool:
    """Say whether a (concrete) array was put on its devices on purpose."""
    return isinstance(array, jax.Array) and not is_traced(array) and array.committed


def on_one_device(array) -> bool:
    """Say whether a concrete array is on one device, or on the host still."""
    if is_traced(array):
        return False
    return not isinstance(array, jax.Array) or len(array.sharding.device_set) == 1


# --- from arrays, meshes and specs to ranks ---------------------------------------------------


def ranks_of(*arrays) -> Ranks:
    """Read the ranks off the arrays: the devices of the first array that is on several.

    If none is, they are those of the entered mesh. The first array, if committed to one device,
    stays there.
    """
    mesh = _mesh_of_call(arrays)
    if mesh is None or mesh.size == 1:
        return make_ranks(mesh, (), arrays)
    for array in arrays:
        found, spec = _mesh_and_spec(array)
        if found is not None and found.shape_tuple == mesh.shape_tuple:
            return make_ranks(mesh, _spread_axes(mesh, spec), arrays)
    return make_ranks(mesh, tuple(mesh.axis_names), arrays)


def mesh_of(array):
    """Return the mesh that an array says it is on, or None."""
    return _mesh_and_spec(array)[0]


def ranks_of_blocks(blocks, axes: tuple[str, ...], size: int, *others, mesh=None) -> Ranks:
    """Return the `size` ranks along `axes` of the mesh that a factor's contents are on.

    Where they do not say, it is `mesh`, or that of `others`, or that of the context. The contents
    of one rank fit every mesh: where they are not on one device, each device works on a copy.
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
            f"the factor is one of {size} ranks along {axes}, but not on a mesh: put it on one "
            "with factor.to_mesh(mesh), or enter one with jax.set_mesh"
        )
    _check_blocks(mesh, axes, size)
    return make_ranks(mesh, axes, (blocks, *others))


def _check_blocks(mesh, axes: tuple[str, ...], size: int) -> None:
    if any(axis not in mesh.shape for axis in axes) or _size(mesh, axes) != size:
        raise ValueError(
            f"the factor is one of {size} ranks along {axes}, but the mesh is {dict(mesh.shape)}: "
            "factor the matrix on that mesh, or put b on the mesh of the factor"
        )


def ranks_on(mesh, axes: tuple[str, ...], arrays: Sequence) -> Ranks:
    """Return the ranks along `axes` of a mesh that the caller named."""
    if not is_traced(*arrays):
        mesh = _concrete(mesh, arrays)
    if isinstance(mesh, Mesh) and is_traced(*arrays) and _on_no_mesh(arrays):
        # With Auto axes, XLA learns the devices from the mesh; with Explicit ones, only from
        # arguments or a mesh that was entered, and there is neither.
        mesh = Mesh(mesh.devices, mesh.axis_names)
    return make_ranks(mesh, axes, arrays)


def make_ranks(mesh, axes: tuple[str, ...], arrays: Sequence) -> Ranks:
    processes = _processes(mesh)
    hosts = _hosts(mesh) if processes > 1 else 1
    return Ranks(mesh, axes, _platform(mesh, arrays), processes, hosts)


def given_mesh(mesh, arrays: Sequence):
    """Return the mesh an argument names, or the arrays' own for None and for an empty mesh."""
    if mesh is not None and not isinstance(mesh, (Mesh, AbstractMesh)):
        raise TypeError(f"mesh must be a jax.sharding.Mesh or AbstractMesh, got {type(mesh)}")
    if mesh is None or mesh.empty:
        mesh = ranks_of(*arrays).mesh
        if mesh is None:
            raise ValueError(
                "no mesh: pass mesh=, put the arrays on one with a NamedSharding, or enter one "
                "with jax.set_mesh"
            )
    return mesh


def row_axes(mesh, spec: PartitionSpec, name="in_specs") -> tuple[str, ...] | None:
    """Return the axes of a spec ``P(axis, None)``, None if the spec is of another form."""
    entries = tuple(spec) + (None,) * (2 - len(spec))
    if len(entries) != 2 or entries[0] is None or entries[1] is not None:
        return None
    return matrix_axes(mesh, spec, name)


def matrix_axes(mesh, spec: PartitionSpec, name: str) -> tuple[str, ...]:
    """Return the axes that a matrix of this spec is spread over, as the argument `name` gave it."""
    axes = _spread_axes(mesh, spec)
    for axis in axes:
        if axis not in mesh.axis_names:
            raise ValueError(
                f"{name} names the axis {axis!r}, but the mesh has the axes {mesh.axis_names}"
            )
    return axes


def same_spec(one: PartitionSpec, other: PartitionSpec) -> bool:
    """Say whether two specs shard every dimension over the same axes."""
    pairs = itertools.zip_longest(one, other)
    return all(_names(entry) == _names(of_other) for entry, of_other in pairs)


def in_shard_map() -> bool:
    """Say whether this is called inside the caller's ``shard_map``, on the shards of one rank."""
    return bool(jax.sharding.get_abstract_mesh().manual_axes)


def manual_axes(a, axis_name=None) -> tuple[str, ...]:
    """Return the axes of the enclosing ``shard_map`` over which the rows of a matrix are dealt.

    `a` is the block of one device. It may vary along these axes alone; where JAX does not track
    that, they are the axes that fit its shape.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if not mesh.manual_axes:
        raise ValueError("this function must be called inside jax.shard_map")
    shard, n = a.shape
    if axis_name is not None:
        axes = _names(axis_name)
        if any(axis not in mesh.manual_axes for axis in axes):
            raise ValueError(
                f"axis_name must name axes of the enclosing shard_map, {tuple(mesh.manual_axes)}; "
                f"got {axis_name!r}"
            )
        if -(-n // _size(mesh, axes)) != shard:
            raise ValueError(
                f"a has local shape {(shard, n)}, but {_size(mesh, axes)} ranks along {axes} have "
                f"shards of {-(-n // _size(mesh, axes))} rows: name the axis a is sharded over"
            )
        return axes
    varying = _varying.axes_of(a)
    along = tuple(axis for axis in mesh.axis_names if axis in varying) or tuple(mesh.manual_axes)
    candidates = [along] if varying else [*((axis,) for axis in along), along]
    sizes = {axes: _size(mesh, axes) for axes in candidates}
    fitting = [axes for axes, size in sizes.items() if -(-n // size) == shard]
    single = [axes for axes in fitting if len(axes) == 1]
    if len(fitting) == 1 or len(single) == 1:
        return (single or fitting)[0]
    raise ValueError(
        f"a has local shape {(shard, n)}; "
        + ("several axes" if fitting else "no axis")
        + f" of the mesh {dict(mesh.shape)} can deal {n} rows in shards of {shard}"
        + ("; say which one with axis_name=" if fitting else "")
    )


def row_spec(n: int, ranks: Ranks) -> PartitionSpec | None:
    """Return the spec of an n-row matrix in rows, None where these do not divide evenly."""
    return ranks.rows if ranks.mesh is not None and n % ranks.size == 0 else None


def column_spec(n: int, ranks: Ranks) -> PartitionSpec | None:
    """Return the spec of n columns dealt to the ranks, None where these do not divide evenly."""
    spec = row_spec(n, ranks)
    return None if spec is None else PartitionSpec(*reversed(spec))


def spec_on(array, mesh) -> PartitionSpec | None:
    """Return the spec of an array that lives on `mesh`, None where it is not known."""
    if mesh is None:
        return None
    if not is_traced(array):
        sharding = getattr(array, "sharding", None)
        if not isinstance(sharding, NamedSharding):
            return None
        abstract = isinstance(mesh, AbstractMesh) and sharding.mesh.abstract_mesh == mesh
        return sharding.spec if abstract or sharding.mesh == mesh else None
    sharding = jax.typeof(array).sharding
    if not sharding.mesh.empty and sharding.mesh.explicit_axes:
        return sharding.spec
    return None


def concrete(ranks: Ranks | None, size: int) -> Ranks:
    """Return `size` ranks on a concrete mesh: the given ones, or if they are on none some GPUs."""
    if ranks is not None and isinstance(ranks.mesh, Mesh):
        return make_ranks(Mesh(ranks.mesh.devices, ranks.mesh.axis_names), ranks.axes, ())
    devices = jax.devices("gpu")
    if len(devices) < size:
        raise ValueError(f"a call on {size} GPUs cannot be planned here: there are {len(devices)}")
    return make_ranks(Mesh(np.array(devices[:size]), ("ranks",)), ("ranks",), ())


def even_spec(spec: PartitionSpec, shape, mesh) -> PartitionSpec | None:
    """Return a spec for an array of this shape, None where the shape does not divide evenly."""
    entries = tuple(spec) + (None,) * (len(shape) - len(spec))
    even = all(n % parts(mesh, entry) == 0 for n, entry in zip(shape, entries, strict=True))
    return spec if even else None


def block_spec(array, ranks: Ranks) -> PartitionSpec | None:
    """Return the spec of a square matrix that the ranks have in blocks of rows and columns.

    None where it is in another form or not known, or where its rows do not divide among all ranks.
    """
    spec = spec_on(array, ranks.mesh)
    if spec is None or len(spec) != 2 or not all(_names(entry) for entry in spec):
        return None
    axes = tuple(axis for entry in spec for axis in _names(entry))
    return spec if axes == ranks.axes and row_spec(array.shape[0], ranks) is not None else None


def parts(mesh, entry) -> int:
    """Return how many parts an entry of a spec cuts its dimension into."""
    return _size(mesh, _names(entry))


def _mesh_and_spec(array):
    """Return (mesh, spec) of an array; (None, None) if it says nothing about a mesh."""
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

    With `stays`, the first array decides even if it is on one device without being committed to
    it, as long as the others can be moved there.
    """
    if jax.sharding.get_abstract_mesh().manual_axes:
        return None
    first, context = arrays[0], _context_mesh()
    known = [(array, mesh) for array in arrays if (mesh := mesh_of(array)) is not None]
    if is_staged():
        if context is not None:
            return context
        # Concrete arrays are constants of the program, which runs where its arguments are. (What
        # is of an Explicit mesh goes to no other.)
        meshes = [
            (not is_traced(array), not mesh.explicit_axes, i, mesh)
            for i, (array, mesh) in enumerate(known)
            if is_traced(array) or mesh.explicit_axes or mesh.size > 1
        ]
        # The devices of a constant's mesh are known, and may be known from nothing else.
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
        return mesh_of(first) or _mesh_of_one(first)
    return known[0][1] if context is None else context


def _mesh_of_one(array) -> Mesh:
    """Return a mesh of the one device of a concrete array."""
    return Mesh(np.array(list(array.sharding.device_set)), ("ranks",))


def _context_mesh():
    """Return the mesh that was entered, with its devices outside of ``jit``; None without one."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.manual_axes:
        return None
    # What is computed here lies on that mesh. (`get_mesh` is newer, and raises below `grad`.)
    sharding = None if is_traced(result := _nothing()) else result.sharding
    concrete = getattr(sharding, "mesh", None)
    return concrete if isinstance(concrete, Mesh) and concrete.abstract_mesh == mesh else mesh


@jax.jit
def _nothing():
    return jnp.zeros((), np.int32)


def _spread_axes(mesh, spec: PartitionSpec) -> tuple[str, ...]:
    """Return the axes a matrix is spread over: those that shard it, rows first; else all."""
    axes = tuple(axis for entry in spec for axis in _names(entry))
    return axes or tuple(mesh.axis_names)


def _size(mesh, axes: tuple[str, ...]) -> int:
    return math.prod(mesh.shape[axis] for axis in axes)


def _names(entry) -> tuple[str, ...]:
    if entry is None or entry is PartitionSpec.UNCONSTRAINED:
        return ()
    return tuple(entry) if isinstance(entry, (tuple, list)) else (entry,)


def _on_no_mesh(arrays) -> bool:
    """Say whether neither the (traced) arrays nor the context are on a mesh."""
    meshes = [jax.typeof(array).sharding.mesh for array in arrays]
    return all(mesh.empty for mesh in [*meshes, jax.sharding.get_abstract_mesh()])


def _concrete(mesh, arrays: Sequence):
    """Find the concrete mesh behind an abstract one; the abstract one serves if none is known."""
    if isinstance(mesh, Mesh):
        return mesh
    for found in (*map(mesh_of, arrays), _context_mesh()):
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
    """Return the platform of an abstract device, which until JAX 0.10.1 says its kind alone."""
    if hasattr(device, "platform"):
        return device.platform
    for platform in ("gpu", "cpu"):
        with contextlib.suppress(RuntimeError):  # There is no such platform.
            if jax.devices(platform)[0].device_kind == device.device_kind:
                return platform
    return jax.default_backend()


def _processes(mesh) -> int:
    """Return the number of processes of a mesh (of an abstract one: an upper bound)."""
    if mesh is None:
        return 1
    if isinstance(mesh, Mesh):
        return len({device.process_index for device in mesh.devices.flat})
    return jax.process_count()


def _hosts(mesh) -> int:
    """Return the number of machines that a mesh spans (an abstract one: all that there are)."""
    devices = mesh.devices.flat if isinstance(mesh, Mesh) else jax.devices()
    # JAX numbers machines as slices, as it does groups of TPUs.
    return len({getattr(device, "slice_index", 0) for device in devices})


# --- moving concrete arrays -------------------------------------------------------------------


def converted(array, dtype):
    """Return an array, wherever it is, with another dtype."""
    if array.dtype == dtype:
        return array
    if not isinstance(array, jax.Array):
        return array.astype(dtype)
    mesh = mesh_of(array)
    if mesh is None and is_committed(array):
        mesh = _mesh_of_one(array)
    with _entered(mesh):
        return array.astype(dtype)


def place(array, name: str, ranks: Ranks, spec: PartitionSpec, *, gather=False) -> jax.Array:
    """Bring a concrete array to the devices of `ranks`, laid out as `spec` if it has to move.

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
    """Reject an array whose type, in a program that is traced, names another Explicit mesh."""
    if ranks.mesh is None or not isinstance(array, jax.Array) or not is_staged():
        return
    mesh, expected = jax.typeof(array).sharding.mesh, ranks.mesh
    expected = expected.abstract_mesh if isinstance(expected, Mesh) else expected
    if mesh.explicit_axes and mesh != expected:
        raise ValueError(
            f"{name} is on the mesh {mesh}, but the mesh of the call is {expected}: put {name} on "
            "that mesh before jit, or enter its own mesh with jax.set_mesh"
        )


def place_scalar(value, ranks: Ranks, matrix):
    """Bring a concrete scalar to where a matrix, which is in place, lives."""
    if is_traced(value) or is_staged():
        return value
    if ranks.processes > 1:  # Each process has the value, and its program takes it from there.
        return value if spec_on(value, ranks.mesh) is not None else np.asarray(value)
    if isinstance(ranks.mesh, Mesh):
        return _moved(value, NamedSharding(ranks.mesh, PartitionSpec()))
    if ranks.mesh is None and is_committed(matrix):
        return _moved(value, matrix.sharding)
    return value


def put_blocks(mesh: Mesh, axes: tuple[str, ...], size: int, blocks, scalar):
    """Put a factor's contents and a scalar on a mesh."""
    _check_blocks(mesh, axes, size)
    rows = NamedSharding(mesh, PartitionSpec(axes or None, None))
    return jax.device_put((blocks, scalar), (rows, NamedSharding(mesh, PartitionSpec())))


def place_all(ranks: Ranks, a, *others, gather=False):
    """Bring concrete arrays onto the ranks' devices, a in (padded) row blocks if it has to move.

    Right-hand sides that are on several other devices are moved only with `gather`.
    """
    if ranks.mesh is None:
        return a, *(_beside(other, a) for other in others)
    return (
        *place_matrices(ranks, a=a),
        *(place(other, "b", ranks, PartitionSpec(), gather=gather) for other in others),
    )


def place_matrices(ranks: Ranks, **matrices):
    """Bring concrete N x N matrices there, in (padded) row blocks if they have to move."""
    if ranks.mesh is None:
        first, *others = matrices.values()
        return first, *(_beside(other, first) for other in others)

    def placed(name, matrix):
        if on_one_device(matrix):
            matrix = pad_rows_to(matrix, ranks.padded_rows(matrix.shape[1]))
        divisible = matrix.shape[0] % ranks.size == 0
        return place(matrix, name, ranks, ranks.rows if divisible else PartitionSpec())

    return tuple(placed(name, matrix) for name, matrix in matrices.items())


def _beside(array, a):
    """Bring an array to the one device of a."""
    if is_committed(a) and is_committed(array) and a.sharding != array.sharding:
        return _moved(array, a.sharding)
    return array


def keep_sharding(x: jax.Array, like) -> jax.Array:
    """Move a concrete result to where `like` was committed to."""
    if is_traced(x) or not is_committed(like):
        return x
    if x.sharding.is_equivalent_to(like.sharding, x.ndim):
        return x
    return _moved(x, like.sharding)


def entered(ranks: Ranks):
    """Return a context in which `ranks.mesh` does not contradict the mesh the caller has set."""
    return _entered(ranks.mesh)


def _entered(mesh):
    context = jax.sharding.get_abstract_mesh()
    if context.empty or not isinstance(mesh, Mesh) or is_staged() or _context_mesh() == mesh:
        return contextlib.nullcontext()
    return _set_mesh(mesh)


def _moved(array, sharding):
    """Return an array with another sharding."""
    with _entered(mesh_of(array)):  # Older JAX (0.6) slices it on the way.
        return jax.device_put(array, sharding)


def _device_ids(devices) -> list[int]:
    return sorted(device.id for device in devices)


# --- programs over the ranks ------------------------------------------------------------------


def program(*static: str) -> Callable:
    """Return a decorator that makes ``f(*arrays, call=..., **static)`` a program of its own.

    Inside the caller's ``jit`` it becomes part of that program. Elsewhere, below ``grad`` and
    ``vmap`` too, it is compiled, once for each `call` (which has `ranks`) and each value of the
    arguments named in `static`. With ``donate=True``, the first array is then given up to the
    result.
    """

    def decorate(function: Callable) -> Callable:
        names = ("call", *static)
        compiled = jax.jit(function, static_argnames=names)
        donating = jax.jit(function, static_argnames=names, donate_argnums=0)

        @functools.wraps(function)
        def run(*arrays, call, donate=False, **options):
            chosen = donating if donate and not is_traced(*arrays) else compiled
            # Inside of the caller's shard_map, one operand may differ from device to device and
            # another be the same on all; the rules below need not distinguish them.
            arrays = _varying.alike(*arrays)
            with entered(call.ranks):
                return (function if is_staged() else chosen)(*arrays, call=call, **options)

        return run

    return decorate


def auto(function: Callable, ranks: Ranks, out_specs) -> Callable:
    """Let `function` (global view) see Auto axes only; its results have `out_specs`.

    A spec of None leaves the sharding of that result to XLA where it may choose. All results are
    known to be on the mesh.
    """
    mesh = _tracing_mesh(ranks.mesh)
    if mesh is None:
        return function
    if mesh.explicit_axes:
        mesh = mesh.abstract_mesh if isinstance(mesh, Mesh) else mesh
        shardings = jax.tree.map(
            lambda spec: NamedSharding(mesh, PartitionSpec() if spec is None else spec),
            out_specs,
            is_leaf=_is_spec,
        )
        return auto_axes(function, out_sharding=shardings)

    def constrained(*operands):
        if _UNEVEN_RESULTS_FAIL:
            operands = jax.tree.map(lambda x: _evenly(x, mesh), operands)
        return jax.tree.map(
            lambda spec, x: _constrained(x, mesh, spec),
            out_specs,
            function(*operands),
            is_leaf=_is_spec,
        )

    return constrained


def on_mesh(array, ranks: Ranks, spec: PartitionSpec | None = None):
    """Return a traced array as one that is known to be on the ranks' mesh.

    Its derivatives are, and JAX wants them to be of the same type.
    """
    if ranks.mesh is None or not jax.typeof(array).sharding.mesh.empty:
        return array
    array = auto(lambda x: x, ranks, spec)(array)
    if jax.typeof(array).sharding.mesh.empty:  # JAX < 0.7: only what is computed with counts.
        zero = over_ranks(lambda: jnp.zeros((), array.dtype), ranks, (), PartitionSpec())
        array = array + zero()
    return array


def matrix_on_mesh(a, ranks: Ranks):
    """Return a matrix as `on_mesh` does, in rows where these divide evenly."""
    return on_mesh(a, ranks, row_spec(a.shape[0], ranks))


def over_ranks(function: Callable, ranks: Ranks, in_specs, out_specs) -> Callable:
    """Return `function`, which is written for one rank's blocks, for global arrays."""
    if ranks.mesh is None:
        return function

    def run(*operands):  # The context's mesh is the one where this is called.
        return jax.shard_map(
            function,
            mesh=_with_devices(_tracing_mesh(ranks.mesh)),
            in_specs=in_specs,
            out_specs=out_specs,
            check_vma=False,
        )(*operands)

    return run


def in_rows(array, ranks: Ranks):
    """Say inside of `auto` that an array is in row blocks."""
    mesh = _tracing_mesh(ranks.mesh)
    return array if mesh is None else _constrained(array, mesh, ranks.rows)


def pad_rows_to(array, rows: int):
    """Append zero rows until there are `rows`; a NumPy array stays one."""
    pad = jnp.pad if isinstance(array, jax.Array) else np.pad
    missing = rows - array.shape[0]
    return pad(array, ((0, missing), (0, 0))) if missing else array


def _tracing_mesh(mesh):
    """Return the context's version of `mesh`: the axis types may have changed on the way here."""
    current = jax.sharding.get_abstract_mesh()
    if mesh is None or current.empty or current.shape_tuple != mesh.shape_tuple:
        return mesh
    return current


def _with_devices(mesh):
    """Return a mesh over whose axes JAX can lower collectives.

    For an abstract mesh, it looks for them on the concrete mesh that is set, even where
    ``jax.sharding.use_abstract_mesh`` has put another one in its place. A program has one order of
    devices, so that the concrete mesh has those of the abstract one.
    """
    if not isinstance(mesh, AbstractMesh) or not hasattr(jax.sharding, "get_mesh"):  # JAX < 0.8.
        return mesh
    try:
        with jax.core.eval_context():  # JAX does not say which one is set while it traces.
            given = jax.sharding.get_mesh()
    except ValueError:  # Below vmap, JAX < 0.10 does not say it even there.
        return mesh
    if given.empty or given.shape_tuple == mesh.shape_tuple or given.size != mesh.size:
        return mesh
    devices = given.devices.reshape(mesh.axis_sizes)
    return Mesh(devices, mesh.axis_names, axis_types=mesh.axis_types)


def _constrained(x, mesh, spec: PartitionSpec | None):
    if spec is None:
        entry = None if _UNEVEN_RESULTS_FAIL else PartitionSpec.UNCONSTRAINED
        spec = PartitionSpec(*(entry,) * x.ndim)
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))


def _evenly(x, mesh):
    """Return an array whose gradient XLA can divide evenly among the devices."""
    uneven = jnp.ndim(x) > 0 and x.shape[0] % mesh.size
    return _constrained(x, mesh, PartitionSpec()) if uneven else x


def _is_spec(leaf) -> bool:
    return leaf is None or isinstance(leaf, PartitionSpec)
