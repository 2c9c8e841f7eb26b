"""The ranks of a call: the devices along some axes of a mesh, and their shares of matrices."""

from dataclasses import dataclass

from jax.sharding import AbstractMesh, Mesh, PartitionSpec

from jaxmg._mesh.specs import axes_in, size_of, spec_on


@dataclass(frozen=True)
class Ranks:
    """The devices of one call: rank r is the r-th device along `axes` of `mesh`.

    `mesh` is None on a single device outside any mesh; `axes` is then empty. The devices along the
    other axes of the mesh do the same work on replicas.
    """

    mesh: Mesh | AbstractMesh | None
    axes: tuple[str, ...]
    platform: str
    processes: int
    hosts: int
    concurrent: int = 1  # Calls like this one, on other devices at the same time, plus 1.

    def alone(self) -> "Ranks":
        """Return the rank of one device that works by itself, as all others do at the same time."""
        return Ranks(None, (), self.platform, 1, 1, self.size)

    @property
    def size(self) -> int:
        return size_of(self.mesh, self.axes)

    @property
    def rows(self) -> PartitionSpec:
        """Spec of a matrix whose rows are sharded over the ranks in blocks."""
        return PartitionSpec(self.axes or None, None)

    @property
    def columns(self) -> PartitionSpec:
        """Spec of a matrix whose columns are sharded over the ranks in blocks."""
        return PartitionSpec(None, self.axes or None)

    def shard_rows(self, n: int) -> int:
        """Rows of each rank's block of an n-row matrix (the last blocks end in padding)."""
        return -(-n // self.size)

    def padded_rows(self, n: int) -> int:
        """Number of rows of all blocks, padding included."""
        return self.size * self.shard_rows(n)


def row_spec(n: int, ranks: Ranks) -> PartitionSpec | None:
    """Return the spec of an n-row matrix sharded over rows, None if they do not divide evenly."""
    return ranks.rows if ranks.mesh is not None and n % ranks.size == 0 else None


def column_spec(n: int, ranks: Ranks) -> PartitionSpec | None:
    """Return the spec of n columns sharded over the ranks, None if they do not divide evenly."""
    spec = row_spec(n, ranks)
    return None if spec is None else PartitionSpec(*reversed(spec))


def block_spec(array, ranks: Ranks) -> PartitionSpec | None:
    """Return the spec of a square matrix in blocks of rows and columns over the ranks.

    None if it has another sharding or an unknown one, or if its rows do not divide evenly among all
    ranks.
    """
    spec = spec_on(array, ranks.mesh)
    if spec is None or len(spec) != 2 or not all(axes_in(entry) for entry in spec):
        return None
    axes = tuple(axis for entry in spec for axis in axes_in(entry))
    return spec if axes == ranks.axes and row_spec(array.shape[0], ranks) is not None else None
