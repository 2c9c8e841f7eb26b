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

from jaxmg import _ffi, _native, _sharding
from jaxmg._sharding import Ranks

_UNIT = 256  # bytes, in which the answer is counted
_asking = threading.Lock()


def plan(
    step: str,
    n: int,
    count: int,
    dtype: np.dtype,
    *,
    ranks: int,
    tile: int,
    processes: int,
    hosts: int,
    workspace_limit: int,
    grid_rows: int = 0,
    on: Ranks | None = None,
) -> _native.CallPlan:
    """Plan "posv", "potrf" or "syevd" on a grid of `ranks`, with `grid_rows` rows (0: squarest).

    The library is asked `on` these ranks; where they are not known, or not which devices they are,
    on as many of the process' GPUs.
    """
    options = dict(ranks=ranks, tile=tile, processes=processes, grid_rows=grid_rows, hosts=hosts)
    made = _native.grid_plan(step, n, count, dtype, **options)
    asked = _sharding.concrete(on, ranks)
    columns = count
    if step == "posv" and made.distributed_rhs:
        columns = ranks * -(-count // ranks)
    own = solver_bytes(step, n, columns, dtype, made.pivot, grid_rows, asked)
    total = made.workspace_bytes + own
    if workspace_limit and total > workspace_limit:
        raise ValueError(
            f"cuSOLVERMp and the matrix in its tiles need {total} bytes of workspace per device "
            f"for n = {n} in tiles of {made.pivot}, the limit is {workspace_limit}"
        )
    return made._replace(workspace_bytes=total)


@functools.lru_cache(maxsize=4096)
def solver_bytes(
    step: str, n: int, count: int, dtype: np.dtype, tile: int, grid_rows: int, ranks: Ranks
) -> int:
    """Return the bytes that the library needs on each device for itself.

    All processes of the mesh have to ask.
    """
    _native.require(ranks.platform)
    _native.vendor_version("cusolvermp")
    call = _native.plan(
        "solver_bytes",
        1,
        1,
        np.dtype(np.float32),
        ranks=ranks.size,
        tile=0,
        platform=ranks.platform,
        processes=ranks.processes,
        workspace_limit=0,
        backend="cusolvermp",
    )

    def one_rank():
        token = jnp.zeros((1, 1), jnp.float32)
        _, units = _ffi.solver_bytes(
            token,
            step=step,
            n=n,
            count=count,
            dtype=dtype,
            tile=tile,
            grid_rows=grid_rows,
            call=call,
            ranks=ranks,
        )
        return lax.pmax(units, ranks.axes)

    def ask():
        program = _sharding.over_ranks(one_rank, ranks, (), PartitionSpec())
        return int(np.asarray(jax.jit(program)())[0])

    # In a thread that has no part in what this one traces, nor has entered its mesh.
    with _asking, ThreadPoolExecutor(1) as thread:
        return _UNIT * thread.submit(ask).result()
