"""Parameters of a call: ranks, placement, tile, workspace limit and backend."""

import dataclasses
from dataclasses import dataclass, field

from jax.sharding import PartitionSpec

from jaxmg._config import config
from jaxmg._mesh.ranks import Ranks, block_spec
from jaxmg._mesh.specs import parts
from jaxmg._native import plans
from jaxmg._planning import backends, memory
from jaxmg._programs.dealt import Dealt, DealtLU, DealtQR


@dataclass(frozen=True)
class Placement:
    """The distribution of A over the ranks in `posv` and `syevd`: rows, or blocks."""

    spec: PartitionSpec
    grid_rows: int = 0  # Rows of the grid of the blocks of A^T; 0 for rows of A.

    @classmethod
    def rows(cls, ranks: Ranks) -> "Placement":
        return cls(ranks.rows)

    @classmethod
    def blocks_of(cls, a, ranks: Ranks) -> "Placement":
        """Return blocks of rows and columns if A is sharded over both, otherwise rows."""
        spec = block_spec(a, ranks)
        # Block columns of A are rows of the grid of A^T.
        return cls.rows(ranks) if spec is None else cls(spec, parts(ranks.mesh, spec[1]))


@dataclass(frozen=True)
class Call:
    """Parameters of a call: everything except its arrays."""

    ranks: Ranks
    placement: Placement
    tile: int | None = None
    workspace_limit: int | None = None
    backend: str = "tiled"
    one_rank_up_to: int | None = field(default_factory=lambda: config.one_rank_up_to)

    @property
    def on_one_cpu(self) -> bool:
        """Whether one CPU device works by itself, without a given tile size: by LAPACK."""
        alone = self.ranks.size == 1 and self.ranks.platform == "cpu"
        return alone and self.backend == "tiled" and self.tile is None

    def in_rows(self) -> "Call":
        """Return this call for a matrix in row blocks."""
        return dataclasses.replace(self, placement=Placement.rows(self.ranks))

    def plan(
        self, routine: str, n: int, count: int, dtype, *, rows: int = 0, **arguments
    ) -> plans.CallPlan:
        """Plan one routine of this call; `arguments` are specific to the routine.

        `rows` is the number of rows of a matrix of n columns, for routines of such matrices.
        """
        request = backends.Request.on(self.ranks, n, count, dtype, rows)
        request = dataclasses.replace(request, one_rank_up_to=self.one_rank_up_to)
        backend = backends.of_step(self.backend, routine)

        def plan_for(limit):
            return backends.plan_step(
                routine,
                request,
                tile=self.tile or 0,
                workspace_limit=limit,
                backend=backend,
                ranks=self.ranks,
                **arguments,
            )

        if self.workspace_limit:
            return plan_for(self.workspace_limit)
        return memory.fitted(plan_for, self.ranks.platform)

    def alone(self) -> "Call":
        """Return this call for a matrix that each device solves by itself."""
        ranks = self.ranks.alone()
        placement = Placement.rows(ranks)
        return dataclasses.replace(self, ranks=ranks, placement=placement, tile=None)

    def solved_by_one(self, routine: str, n: int, count: int, dtype, **arguments) -> bool:
        """Return whether one of several devices solves alone."""
        return (
            self.ranks.size > 1
            and self.plan(routine, n, count, dtype, **arguments).ranks_at_work == 1
        )

    def reading(self, factor: Dealt | DealtLU | DealtQR) -> "Call":
        """Return this call with the tile size of a factor, for a routine that reads it."""
        return self.with_tile(factor.tile or None)

    def with_tile(self, tile: int | None) -> "Call":
        return dataclasses.replace(self, tile=tile)
