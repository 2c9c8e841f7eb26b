"""Partition specs: their mesh axes, and the number of parts along a dimension."""

import itertools
import math

import jax
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from jaxmg._mesh.tracing import is_traced


def row_axes(mesh, spec: PartitionSpec, name="in_specs") -> tuple[str, ...] | None:
    """Return the axes of a spec ``P(axis, None)``, None for any other spec."""
    entries = tuple(spec) + (None,) * (2 - len(spec))
    if len(entries) != 2 or entries[0] is None or entries[1] is not None:
        return None
    return matrix_axes(mesh, spec, name)


def matrix_axes(mesh, spec: PartitionSpec, name: str) -> tuple[str, ...]:
    """Return the axes that a matrix of this spec, from the argument `name`, is sharded over."""
    axes = spread_axes(mesh, spec)
    for axis in axes:
        if axis not in mesh.axis_names:
            raise ValueError(
                f"{name} names the axis {axis!r}, but the mesh has the axes {mesh.axis_names}"
            )
    return axes


def same_spec(one: PartitionSpec, other: PartitionSpec) -> bool:
    """Return whether two specs shard every dimension over the same axes."""
    pairs = itertools.zip_longest(one, other)
    return all(axes_in(entry) == axes_in(of_other) for entry, of_other in pairs)


def spec_on(array, mesh) -> PartitionSpec | None:
    """Return the spec of an array on `mesh`, None if it is unknown."""
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


def even_spec(spec: PartitionSpec, shape, mesh) -> PartitionSpec | None:
    """Return the spec for an array of this shape, None if the shape does not divide evenly."""
    entries = tuple(spec) + (None,) * (len(shape) - len(spec))
    even = all(n % parts(mesh, entry) == 0 for n, entry in zip(shape, entries, strict=True))
    return spec if even else None


def parts(mesh, entry) -> int:
    """Return the number of parts into which an entry of a spec divides its dimension."""
    return size_of(mesh, axes_in(entry))


def spread_axes(mesh, spec: PartitionSpec) -> tuple[str, ...]:
    """Return the axes that shard a matrix, rows first; all axes of the mesh if it is replicated."""
    axes = tuple(axis for entry in spec for axis in axes_in(entry))
    return axes or tuple(mesh.axis_names)


def size_of(mesh, axes: tuple[str, ...]) -> int:
    return math.prod(mesh.shape[axis] for axis in axes)


def axes_in(entry) -> tuple[str, ...]:
    if entry is None or entry is PartitionSpec.UNCONSTRAINED:
        return ()
    return tuple(entry) if isinstance(entry, (tuple, list)) else (entry,)
