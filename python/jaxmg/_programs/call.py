"""How a routine is called: everything except its arrays."""

import dataclasses
from dataclasses import dataclass

from jax.sharding import PartitionSpec

from jaxmg._mesh.ranks import Ranks
from jaxmg._mesh.specs import parts
from jaxmg._native import plans
from jaxmg._planning import backends, memory


@dataclass(frozen=True)
class Call:
    """How a routine is called: everything but its arrays."""

    ranks: Ranks
    tile: int | None = None
    workspace_limit: int | None = None
    backend: str = "tiled"
    # Of A, where the backend takes it in blocks of rows and columns as they are.
    blocks: PartitionSpec | None = None

    @property
    def matrix(self) -> PartitionSpec:
        """The spec of A in `posv` and in eigenvalue problems."""
        return self.blocks or self.ranks.rows

    def in_rows(self) -> "Call":
        """Return this call for a matrix that is in row blocks."""
        return dataclasses.replace(self, blocks=None)

    def plan(self, routine: str, n: int, nrhs: int, dtype, **arguments) -> plans.CallPlan:
        request = backends.Request.on(self.ranks, n, nrhs, dtype)
        backend = backends.of_step(self.backend, routine)
        # Columns of blocks of A are rows of the grid that A^T is dealt over.
        in_blocks = self.blocks is not None and routine != "potrf"
        grid_rows = parts(self.ranks.mesh, self.blocks[1]) if in_blocks else 0

        def plan_for(limit):
            return backends.plan_step(
                routine,
                request,
                tile=self.tile or 0,
                workspace_limit=limit,
                backend=backend,
                grid_rows=grid_rows,
                ranks=self.ranks,
                **arguments,
            )

        if self.workspace_limit:
            return plan_for(self.workspace_limit)
        return memory.fitted(plan_for, self.ranks.platform)

    def of_factor(self, a) -> "Call":
        """Return this call with the tile size that a factor of A has, for what is done with it."""
        if a.size == 0:
            return self
        return dataclasses.replace(self, tile=self.plan("potrf", a.shape[-1], 1, a.dtype).tile)
