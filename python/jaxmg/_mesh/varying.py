"""Varying mesh axes (VMA) of values inside the caller's ``shard_map``.

JAX tracks them as part of a value's type (``check_vma=True``): a varying value must not be used as
a replicated one, and the transpose of making a value varying is a sum over the devices. JAX infers
the types of its own operations; the results of an FFI call have the type given by its caller. On
releases that do not track them, the set of axes is empty.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec


def axes_of(*arrays) -> frozenset:
    """Return the mesh axes along which any of the arrays varies."""
    return frozenset().union(*(_varying(jax.typeof(array)) for array in arrays))


def alike(*arrays):
    """Return the arrays (or None), each varying along the union of their axes."""
    axes = axes_of(*jax.tree.leaves(arrays))
    return jax.tree.map(lambda array: vary(array, axes), arrays)


def vary(array, axes):
    """Return an array that varies along `axes`, in addition to its own axes.

    Its cotangent is summed over the devices along the added axes.
    """
    missing = tuple(sorted(frozenset(axes) - axes_of(array)))
    if not missing:
        return array
    if hasattr(lax, "pcast"):  # Since JAX 0.8.2.
        return lax.pcast(array, missing, to="varying")
    return lax.pvary(array, missing)


def invariant(array, axes):
    """Mark an array that is equal on all devices along `axes` as not varying there."""
    varying = tuple(axis for axis in axes if axis in axes_of(array))
    if not varying:
        return array
    first = lax.axis_index(varying) == 0
    return lax.psum(jnp.where(first, array, zeros_like(array)), varying)


def zeros_like(array):
    """Return zeros of the type of `array`, including its mesh and axes also on JAX < 0.7."""
    return jnp.where(False, array, jnp.zeros((), array.dtype))


def in_context(array, *operands):
    """Return the result of an FFI call with the mesh of its operands in its type.

    JAX < 0.7 omits the mesh from such results, but not from values computed from them.
    """
    known, wanted = (jax.typeof(value).sharding.mesh for value in (array, operands[0]))
    if wanted.empty or not known.empty:
        return array
    return lax.squeeze(lax.expand_dims(array, (0,)), (0,))


def result(shape, dtype, *operands) -> jax.ShapeDtypeStruct:
    """Return the type of a result that varies like the operands (which are `alike`)."""
    kind = jax.typeof(operands[0])
    if not _varying(kind):
        return jax.ShapeDtypeStruct(shape, dtype)
    sharding = NamedSharding(kind.sharding.mesh, PartitionSpec(*(None,) * len(shape)))
    axes = {name: getattr(kind, name) for name in _ATTRIBUTES if hasattr(kind, name)}
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding, **axes)


# The attribute of a type that holds the axes: since JAX 0.10, and before.
_ATTRIBUTES = ("manual_axis_type", "vma")


def _varying(kind) -> frozenset:
    manual = getattr(kind, "manual_axis_type", None)
    return frozenset(getattr(kind, "vma", ()) if manual is None else manual.varying)
