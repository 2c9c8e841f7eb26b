"""Programs over the ranks: compilation, Auto axes, and the only use of ``shard_map``.

Explicit mesh axes are made Auto for the duration of a call (``auto_axes``). Functions inside it
therefore see one kind of mesh only.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from jaxmg._mesh import varying
from jaxmg._mesh.entering import entered
from jaxmg._mesh.ranks import Ranks, row_spec
from jaxmg._mesh.tracing import is_staged, is_traced

try:
    from jax.sharding import auto_axes
except ImportError:  # JAX < 0.7
    from jax.experimental.shard import auto_axes

# XLA may shard rows that do not divide evenly over part of a mesh axis; JAX 0.9 fails on such a
# result of a program. There, these results and the operands of such gradients are replicated.
_UNEVEN_RESULTS_FAIL = jax.__version_info__[:2] == (0, 9)


def program(*static: str) -> Callable:
    """Return a decorator that compiles ``f(*arrays, call=..., **static)`` as a separate program.

    Inside the caller's ``jit`` it becomes part of that program. Elsewhere, including inside
    ``grad`` and ``vmap``, it is compiled once for each `call` (which has `ranks`) and each value of
    the arguments named in `static`. With ``donate=True``, the first array is then donated. Each
    array may be a pytree.
    """

    def decorate(function: Callable) -> Callable:
        names = ("call", *static)

        @functools.lru_cache
        def compiled(donate: bool, hidden):
            # JAX's cache keeps programs apart by function and abstract mesh, not by a hidden mesh.
            of_mesh = function if hidden is None else functools.partial(function)
            return jax.jit(of_mesh, static_argnames=names, donate_argnums=(0,) if donate else ())

        @functools.wraps(function)
        def run(*arrays, call, donate=False, **options):
            donate = donate and not is_traced(*jax.tree.leaves(arrays))
            # Inside the caller's shard_map, one operand may vary over the devices and
            # another be the same on all; the rules below need not distinguish them.
            arrays = varying.alike(*arrays)
            with entered(call.ranks):
                chosen = function if is_staged() else compiled(donate, _hidden_mesh())
                return chosen(*arrays, call=call, **options)

        return run

    return decorate


def auto(function: Callable, ranks: Ranks, out_specs) -> Callable:
    """Run `function` (global view) with Auto axes only; its results have `out_specs`.

    A spec of None leaves the sharding of that result to XLA where it may choose. The types of all
    results name the mesh.
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
    """Return a traced array whose type names the ranks' mesh.

    The types of its derivatives name the mesh, and JAX requires them to be equal.
    """
    if ranks.mesh is None or not jax.typeof(array).sharding.mesh.empty:
        return array
    array = auto(lambda x: x, ranks, spec)(array)
    if jax.typeof(array).sharding.mesh.empty:  # JAX < 0.7: only computed values have a mesh.
        zero = over_ranks(lambda: jnp.zeros((), array.dtype), ranks, (), PartitionSpec())
        array = array + zero()
    return array


def matrix_on_mesh(a, ranks: Ranks):
    """Return a matrix as `on_mesh` does, sharded over rows where these divide evenly."""
    return on_mesh(a, ranks, row_spec(a.shape[0], ranks))


def over_ranks(function: Callable, ranks: Ranks, in_specs, out_specs) -> Callable:
    """Map `function` of one rank's blocks over global arrays (``shard_map``)."""
    if ranks.mesh is None:
        return function

    def run(*operands):  # The mesh is looked up at the call.
        return jax.shard_map(
            function,
            mesh=_with_devices(_tracing_mesh(ranks.mesh)),
            in_specs=in_specs,
            out_specs=out_specs,
            check_vma=False,
        )(*operands)

    return run


def in_rows(array, ranks: Ranks):
    """Constrain an array inside `auto` to row blocks."""
    mesh = _tracing_mesh(ranks.mesh)
    return array if mesh is None else _constrained(array, mesh, ranks.rows)


def pad_rows_to(array, rows: int):
    """Append zero rows up to `rows` rows; a NumPy array stays a NumPy array."""
    pad = jnp.pad if isinstance(array, jax.Array) else np.pad
    missing = rows - array.shape[0]
    return pad(array, ((0, missing), (0, 0))) if missing else array


def to_rows(array, rows: int):
    """Return an array with `rows` rows: without its last ones, or with zero rows appended."""
    return array[:rows] if array.shape[0] > rows else pad_rows_to(array, rows)


def _tracing_mesh(mesh):
    """Return `mesh` with the axis types of the context, which ``auto_axes`` may have changed."""
    current = jax.sharding.get_abstract_mesh()
    if mesh is None or current.empty or current.shape_tuple != mesh.shape_tuple:
        return mesh
    return current


def _with_devices(mesh):
    """Return a mesh over whose axes JAX can lower collectives.

    For an abstract mesh, JAX looks the axes up on the concrete mesh that is set, even where
    ``jax.sharding.use_abstract_mesh`` has replaced it. A program has one order of devices;
    therefore the concrete mesh has the devices of the abstract mesh.
    """
    hidden = _hidden_mesh() if isinstance(mesh, AbstractMesh) else None
    if hidden is None or hidden.shape_tuple == mesh.shape_tuple or hidden.size != mesh.size:
        return mesh
    devices = hidden.devices.reshape(mesh.axis_sizes)
    return Mesh(devices, mesh.axis_names, axis_types=mesh.axis_types)


def _hidden_mesh() -> Mesh | None:
    """Return the set mesh if ``jax.sharding.use_abstract_mesh`` put another in its place."""
    if not hasattr(jax.sharding, "get_mesh"):  # JAX < 0.8.
        return None
    try:
        with jax.core.eval_context():  # get_mesh raises while tracing.
            given = jax.sharding.get_mesh()
    except ValueError:  # Inside vmap, JAX < 0.10 raises even there.
        return None
    shape = jax.sharding.get_abstract_mesh().shape_tuple
    return None if given.empty or given.shape_tuple == shape else given


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
