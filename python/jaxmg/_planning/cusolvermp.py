"""Plans of calls by cuSOLVERMp, including the library's own workspace.

cuSOLVERMp's workspace queries require a grid, and a grid requires an NCCL communicator. Therefore a
separate program runs the queries on the mesh of the call, in the same way as the call itself,
before the call is planned.
"""

import functools
import threading
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from jaxmg._mesh import programs
from jaxmg._mesh.finding import concrete
from jaxmg._mesh.ranks import Ranks
from jaxmg._native import cuda, ffi, loading, plans

_UNIT = 256  # bytes per unit of the answer
_asking = threading.Lock()


def plan(
    step: str,
    n: int,
    count: int,
    dtype: np.dtype,
    *,
    ranks: int,
    workspace_limit: int = 0,
    on: Ranks | None = None,
    **arguments: int,
) -> plans.CallPlan:
    """Plan a routine on a grid of `ranks`, with `grid_rows` rows (0: squarest).

    The queries run on the ranks `on`. If these are None or on an abstract mesh, they run on the
    same number of local GPUs.
    """
    made = plans.plan(step, n, count, dtype, ranks=ranks, backend="cusolvermp", **arguments)
    own = solver_bytes(made, concrete(on, ranks))
    return plans.with_library_bytes(made, "cuSOLVERMp", own, workspace_limit, n)


@functools.lru_cache(maxsize=4096)
def solver_bytes(made: plans.CallPlan, ranks: Ranks) -> int:
    """Return the library's own workspace on each device for the call of a plan, in bytes.

    Collective: all processes of the mesh must call it.
    """
    loading.require(ranks.platform)
    cuda.vendor_version("cusolvermp")
    call = plans.plan(
        "solver_bytes",
        None,
        0,
        np.dtype(np.float32),
        ranks=ranks.size,
        platform=ranks.platform,
        processes=ranks.processes,
        question=made.words,
    )

    def one_rank():
        token = jnp.zeros((1, 1), jnp.float32)
        _, units = ffi.solver_bytes(token, call=call, ranks=ranks)
        return lax.pmax(units, ranks.axes)

    def ask():
        program = programs.over_ranks(one_rank, ranks, (), PartitionSpec())
        return int(np.asarray(jax.jit(program)())[0])

    # In a new thread, which shares neither the trace nor the mesh of this one.
    with _asking, ThreadPoolExecutor(1) as thread:
        return _UNIT * thread.submit(ask).result()
