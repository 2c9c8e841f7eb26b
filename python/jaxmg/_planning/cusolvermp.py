"""Plans of the calls that cuSOLVERMp works on.

How much workspace the library needs for itself only it can tell, and only to ranks that have met:
its queries take a grid, and a grid takes a communicator of NCCL. So before a call is planned, a
program of its own asks on the call's mesh, in the way in which the call itself will run.
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

_UNIT = 256  # bytes, in which the answer is counted
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

    The library is asked `on` these ranks; where they are not known, or not which devices they are,
    on as many of the process' GPUs.
    """
    made = plans.plan(step, n, count, dtype, ranks=ranks, backend="cusolvermp", **arguments)
    own = solver_bytes(made, concrete(on, ranks))
    return plans.with_library_bytes(made, "cuSOLVERMp", own, workspace_limit, n)


@functools.lru_cache(maxsize=4096)
def solver_bytes(made: plans.CallPlan, ranks: Ranks) -> int:
    """Return the bytes that the library needs on each device for itself, in the call of a plan.

    All processes of the mesh have to ask.
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

    # In a thread that has no part in what this one traces, nor has entered its mesh.
    with _asking, ThreadPoolExecutor(1) as thread:
        return _UNIT * thread.submit(ask).result()
