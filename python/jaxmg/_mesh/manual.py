"""Calls inside the caller's ``shard_map``: the mesh axes over which rows are sharded."""

import jax

from jaxmg._mesh.specs import axes_in, size_of
from jaxmg._mesh.varying import axes_of


def in_shard_map() -> bool:
    """Return whether the call is inside the caller's ``shard_map``, on the shards of one rank."""
    return bool(jax.sharding.get_abstract_mesh().manual_axes)


def manual_axes(a, axis_name=None) -> tuple[str, ...]:
    """Return the axes of the enclosing ``shard_map`` over which the rows of a matrix are sharded.

    `a` is the block of one device. The axes are the axes along which it varies; where JAX does not
    track these, the axes that fit its shape.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if not mesh.manual_axes:
        raise ValueError("this function must be called inside jax.shard_map")
    shard, n = a.shape
    if axis_name is not None:
        axes = axes_in(axis_name)
        if any(axis not in mesh.manual_axes for axis in axes):
            raise ValueError(
                f"axis_name must name axes of the enclosing shard_map, {tuple(mesh.manual_axes)}; "
                f"got {axis_name!r}"
            )
        size = size_of(mesh, axes)
        if -(-n // size) != shard:
            raise ValueError(
                f"a has local shape {(shard, n)}, but {size} ranks along {axes} have shards of "
                f"{-(-n // size)} rows: name the axis a is sharded over"
            )
        return axes
    varying = axes_of(a)
    along = tuple(axis for axis in mesh.axis_names if axis in varying) or tuple(mesh.manual_axes)
    candidates = [along] if varying else [*((axis,) for axis in along), along]
    sizes = {axes: size_of(mesh, axes) for axes in candidates}
    fitting = [axes for axes, size in sizes.items() if -(-n // size) == shard]
    single = [axes for axes in fitting if len(axes) == 1]
    if len(fitting) == 1 or len(single) == 1:
        return (single or fitting)[0]
    raise ValueError(
        f"a has local shape {(shard, n)}; "
        + ("several axes" if fitting else "no axis")
        + f" of the mesh {dict(mesh.shape)} can divide {n} rows into shards of {shard}"
        + ("; select one with axis_name=" if fitting else "")
    )
