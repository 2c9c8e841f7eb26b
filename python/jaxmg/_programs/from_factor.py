"""What the programs of Cholesky and of LU factors share."""

import functools

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from jaxmg._mesh import programs, varying
from jaxmg._mesh.ranks import Ranks
from jaxmg._native import ffi
from jaxmg._programs.batching import batchable
from jaxmg._programs.call import Call
from jaxmg._programs.dealt import Dealt, DealtLU
from jaxmg._programs.right_hand_sides import REPLICATED


def diagonal(factor: Dealt | DealtLU, solver: str, *, call: Call):
    """Return the (N,) diagonal of a factor, with which `solver` solves."""
    ranks, data = call.ranks, factor.data
    if data.size == 0:
        return programs.auto(jnp.ravel, ranks, PartitionSpec(None))(data)
    n, dtype, call = data.shape[1], data.dtype, call.reading(factor)

    def values_on(call):
        ranks, plan = call.ranks, call.plan("diagonal", n, 1, dtype)
        values = programs.over_ranks(
            functools.partial(ffi.diagonal, call=plan, ranks=ranks),
            ranks,
            (ranks.rows,),
            REPLICATED,
        )
        return lambda data: values(programs.to_rows(data, ranks.padded_rows(n)))

    run = batchable(values_on, call, call.solved_by_one(solver, n, 1, dtype))
    return programs.auto(run, ranks, REPLICATED)(data)[0]


def in_row_blocks(routine, name: str, factor: Dealt | DealtLU, *, call: Call):
    """Call a routine that overwrites a factor with an N x N result; return it in row blocks."""
    ranks, data = call.ranks, factor.data
    if data.size == 0:
        return data
    n, dtype, call = data.shape[1], data.dtype, call.reading(factor)
    pivots = (factor.pivots,) if isinstance(factor, DealtLU) else ()

    def result_on(call):
        ranks, plan = call.ranks, call.plan(name, n, 1, dtype)

        def one_rank(data, *pivots):
            return without_padding(routine(data, *pivots, call=plan, ranks=ranks), ranks)

        def all_ranks(data, *pivots):
            specs = (ranks.rows, *(REPLICATED for _ in pivots))
            run = programs.over_ranks(one_rank, ranks, specs, ranks.rows)
            return run(programs.to_rows(data, ranks.padded_rows(n)), *(p[None] for p in pivots))

        return all_ranks

    run = batchable(result_on, call, call.solved_by_one(name, n, 1, dtype))
    return programs.auto(run, ranks, ranks.rows)(data, *pivots)


def without_padding(rows_of_rank, ranks: Ranks):
    """Return a rank's rows of a square matrix, with zeros in the padding rows."""
    rows, n = rows_of_rank.shape
    if n == ranks.padded_rows(n):
        return rows_of_rank
    row = lax.axis_index(ranks.axes) * rows + jnp.arange(rows, dtype=np.int32)
    return jnp.where(row[:, None] < n, rows_of_rank, varying.zeros_like(rows_of_rank))
