"""Arguments of JAXMg 0.0.x and 1.4: meshes and specs given by the caller."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from jaxmg._arguments import (
    as_array,
    as_matrix,
    check_right_hand_side,
    check_square,
    positive_int,
)
from jaxmg._linalg.keywords import gathered, keyword
from jaxmg._linalg.options import Options, make_call
from jaxmg._mesh.finding import given_mesh, make_ranks, ranks_of, ranks_on
from jaxmg._mesh.manual import manual_axes
from jaxmg._mesh.ranks import Ranks, row_spec
from jaxmg._mesh.specs import even_spec, matrix_axes, row_axes, same_spec, spec_on

_FAILED = 7


@dataclass(frozen=True)
class Specs:
    """The specs given by a caller, as `in_specs` or `matrix_specs`; empty if neither was given."""

    in_specs: tuple[PartitionSpec, ...] = ()  # 0.0.x: of a, in rows, and perhaps of b.
    matrix_specs: PartitionSpec | None = None  # 1.4: of a, in any form.
    with_b: bool = False

    @classmethod
    def given(cls, in_specs, matrix_specs, *, with_b=False) -> "Specs":
        most = 2 if with_b else 1
        specs = () if in_specs is None else _as_specs(in_specs, "in_specs", most)
        if matrix_specs is None:
            return cls(specs, None, with_b)
        (of_a,) = _as_specs(matrix_specs, "matrix_specs", 1)
        if len(of_a) > 2:
            raise ValueError(f"matrix_specs must have at most 2 entries, for a matrix; got {of_a}")
        if specs and not same_spec(specs[0], of_a):
            raise ValueError(
                "in_specs and matrix_specs are two names of the same argument, but differ for a: "
                f"got {specs[0]} and {of_a}; pass one of them"
            )
        return cls(specs, of_a, with_b)

    def axes(self, mesh) -> tuple[str, ...] | None:
        """Return the axes that a is sharded over, None if no spec was given."""
        if self.in_specs:
            return self._row_axes(mesh)
        if self.matrix_specs is not None:
            return matrix_axes(mesh, self.matrix_specs, "matrix_specs")
        return None

    def _row_axes(self, mesh) -> tuple[str, ...]:
        a_spec, *b_specs = self.in_specs
        axes = row_axes(mesh, a_spec)
        if axes is None:
            # JAXMg 0.0.x says "columns" for potrs.
            columns = "A must be sharded along the columns of its transpose, that is: "
            raise ValueError(
                f"{columns if self.with_b else ''}A must be sharded along the rows with "
                f"PartitionSpec P(str, None), got in_specs {a_spec}; another sharding of a can be "
                "named by matrix_specs"
            )
        if any(entry is not None for spec in b_specs for entry in spec):
            raise ValueError(f"b must be replicated, with the spec P(None, None); got {b_specs[0]}")
        return axes

    def of_result(self, a, ranks: Ranks, otherwise) -> PartitionSpec | None:
        """Return `matrix_specs` for a matrix like a, or ``otherwise(n, ranks)`` if not given.

        None if the matrix does not divide evenly.
        """
        if self.in_specs or self.matrix_specs is None or ranks.mesh is None:
            return otherwise(a.shape[0], ranks)
        return even_spec(self.matrix_specs, a.shape, ranks.mesh)


@dataclass(frozen=True)
class Where:
    """Keyword arguments of the ``*_shardmap_ctx`` functions that place the matrix."""

    mesh: object = keyword(
        None,
        """
        mesh : Mesh or AbstractMesh, optional
            The devices; by default the devices of the arrays, or else the mesh that is set. Inside
            ``shard_map``, its mesh.
        """,
    )
    matrix_specs: object = keyword(
        None,
        """
        matrix_specs : PartitionSpec or sequence of one, optional
            The spec of `a`, as for `potrs`; by default read off `a`. Inside ``shard_map``, the spec
            of `a` in its ``in_specs``.
        """,
    )
    in_specs: object = keyword(
        None,
        """
        in_specs : PartitionSpec or sequence, optional
            The name of `matrix_specs` in 0.0.x; as for `potrs`.
        """,
    )
    axis_name: object = keyword(
        None,
        """
        axis_name : str or tuple of str, optional
            Inside ``shard_map``, the axis over which the rows are sharded. Required only if the
            shape of `a` fits several axes of the mesh.
        """,
    )

    def specs(self, *, with_b=False) -> Specs:
        return Specs.given(self.in_specs, self.matrix_specs, with_b=with_b)


located = gathered("where", Where)


def named_ranks(mesh, specs: Specs, arrays) -> Ranks:
    """Return the ranks given by `mesh` and `specs`; missing ones are read off the arrays."""
    named = specs.in_specs or specs.matrix_specs is not None
    if mesh is None and not named:
        return ranks_of(*arrays)
    mesh = given_mesh(mesh, arrays)
    axes = specs.axes(mesh) if named else tuple(mesh.axis_names)
    return ranks_on(mesh, axes, arrays)


def on_mesh(routine, a, T_A, where: Where, specs: Specs, options: Options, *b, count=None):
    """Return a checked global matrix, the call of a routine, and the spec of a matrix like it."""
    a = as_array(a, "a")
    check_square(a)
    for right_hand_side in b:
        check_right_hand_side(a, right_hand_side)
    if where.axis_name is not None:
        raise ValueError(
            "axis_name is for calls inside shard_map, and this call is outside: got "
            f"{where.axis_name!r}; specify the sharding of a by matrix_specs"
        )
    tile = positive_int(T_A, "T_A")
    ranks = named_ranks(where.mesh, specs, (a, *b))
    call = make_call(routine, a, ranks, options.with_tile(tile), count=count)
    spec = spec_on(a, call.ranks.mesh)
    if spec is None:
        spec = specs.of_result(a, call.ranks, row_spec)
    return a, call, spec


def on_shards(routine, a, T_A, where: Where, specs: Specs, options: Options, *, count=None):
    """Return this rank's checked rows, and the call of a routine on the rows of all ranks."""
    a = as_matrix(a)
    tile = positive_int(T_A, "T_A")
    mesh = jax.sharding.get_abstract_mesh()
    axes = manual_axes(a, _axes_of_rows(mesh, where, specs))
    ranks = make_ranks(mesh, axes, (a,))
    return a, make_call(routine, a, ranks, options.with_tile(tile), count=count)


def _axes_of_rows(mesh, where: Where, specs: Specs):
    """Return the axes of the enclosing ``shard_map`` given by the caller, None if not given."""
    given, axis_name = where.mesh, where.axis_name
    if given is not None and given_mesh(given, ()).shape_tuple != mesh.shape_tuple:
        raise ValueError(
            f"mesh must be the mesh of the enclosing shard_map, {dict(mesh.shape)}; got "
            f"{dict(given.shape)}: leave it out"
        )
    axes = specs.axes(mesh)
    if axes is None:
        return axis_name
    if not specs.in_specs and row_axes(mesh, specs.matrix_specs) is None:
        raise ValueError(
            "inside shard_map, a must be in shards of rows, with matrix_specs P(axis, None); got "
            f"{specs.matrix_specs}"
        )
    if axis_name not in (None, axes, *(axes if len(axes) == 1 else ())):
        raise ValueError(
            f"axis_name={axis_name!r} and the spec of a, over {axes}, name different axes: "
            "pass one of them"
        )
    return axes


def _as_specs(specs, name: str, most: int) -> tuple[PartitionSpec, ...]:
    # A PartitionSpec is a tuple in older JAX, so it is recognised first.
    specs = [specs] if isinstance(specs, PartitionSpec) else specs
    both = " (or a 2-element one, for a and b)" if most == 2 else ""
    if not isinstance(specs, (tuple, list)) or not all(
        isinstance(spec, PartitionSpec) for spec in specs
    ):
        raise TypeError(
            f"{name} must be a PartitionSpec or a 1-element list/tuple containing one{both}; "
            f"got {specs!r}"
        )
    if not 1 <= len(specs) <= most:
        raise ValueError(
            f"{name} must be a single PartitionSpec or a 1-element list/tuple{both}; "
            f"got {len(specs)} specs"
        )
    return tuple(specs)


def status_of(info):
    return jnp.where(info == 0, 0, _FAILED).astype(np.int32)
