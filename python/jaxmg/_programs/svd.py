"""Singular value and polar decompositions of square matrices as programs on global arrays.

JAX's row shard ``(s, N)`` of A, read column-major, is a block column of A^T. The native code
decomposes A^T = conj(V) diag(s) U^T; columns of its singular vectors are rows of V^H and of U^H.
N x N results are row blocks (see `row_blocks`).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from jaxmg._mesh import programs
from jaxmg._mesh.ranks import Ranks
from jaxmg._native import ffi
from jaxmg._native.plans import CallPlan
from jaxmg._programs.batching import batchable_on_all
from jaxmg._programs.call import Call

_VECTOR, _SCALAR = PartitionSpec(None), PartitionSpec()


class Aside(NamedTuple):
    """Auxiliary results, constants under differentiation.

    `rest` is the overwritten A: XLA reuses a donated buffer only for a result that aliases it.
    """

    info: jax.Array
    rest: jax.Array | None


def gesvd(a, *, call: Call, vectors: bool):
    """Decompose A, an (N, N) matrix or its row blocks; return (s, [U^H, V^H], aside)."""
    ranks, n = call.ranks, a.shape[1]
    plan = call.plan("gesvd", n, n if vectors else 0, a.dtype)

    def decompose(a):
        padded = programs.pad_rows_to(a, ranks.padded_rows(n))
        rest, s, found, info = _on_ranks(padded, plan, ranks, vectors)
        return s, found, Aside(info, rest)

    specs = _VECTOR, _blocks(ranks, vectors), Aside(_SCALAR, ranks.rows)
    s, found, aside = programs.auto(batchable_on_all(decompose), ranks, specs)(a)
    return s, *found, aside


def _blocks(ranks: Ranks, vectors: bool):
    """Return the sharding of U and V^H, or of none."""
    return (ranks.rows,) * (2 if vectors else 0)


def _on_ranks(a, plan: CallPlan, ranks: Ranks, vectors: bool):
    """Return (the overwritten A, s, (U and V^H, or none), info) of the native call."""
    rest, s, *found, info = programs.over_ranks(
        functools.partial(ffi.gesvd, vectors=vectors, call=plan, ranks=ranks),
        ranks,
        (ranks.rows,),
        (ranks.rows, _VECTOR, *_blocks(ranks, vectors), _VECTOR),
    )(a)
    return rest, s, tuple(found), info[0]


def has_gesdd(shape, dtype, *, call: Call, vectors: bool) -> bool:
    """Return whether one CPU decomposes an m x n matrix, m >= n, by LAPACK's gesdd.

    If m >= 2 n, it is faster to decompose R.
    """
    m, n = shape
    if not call.on_one_cpu or m >= 2 * n:
        return False
    try:
        _gesdd_plan(shape, dtype, call, vectors)
    except ValueError:  # beyond LAPACK's sizes, or the limit on workspace
        return False
    return True


def gesdd(a, *, call: Call, vectors: bool):
    """Decompose A on one CPU; return (s, [U, V^H], aside)."""
    plan, ranks = _gesdd_plan(a.shape, a.dtype, call, vectors), call.ranks

    def decompose(a):
        return _on_ranks(a, plan, ranks, vectors)[1:]

    specs = _VECTOR, _blocks(ranks, vectors), _SCALAR
    s, found, info = programs.auto(batchable_on_all(decompose), ranks, specs)(a)
    return s, *found, Aside(info, None)


def _gesdd_plan(shape, dtype, call: Call, vectors: bool):
    m, n = shape
    return call.plan("gesvd", n, n if vectors else 0, dtype, rows=m, as_columns=1)


def polar(a, *, call: Call, left: bool, factor_h: bool):
    """Decompose A = U H or A = H U, an (N, N) matrix or its row blocks; return (U, [H], info)."""
    ranks, n = call.ranks, a.shape[1]
    plan = call.plan("polar", n, 1, a.dtype, left=left, factor_h=factor_h)
    blocks = (ranks.rows,) * (2 if factor_h else 1)

    def decompose(a):
        *found, info = programs.over_ranks(
            functools.partial(ffi.polar, factor_h=factor_h, call=plan, ranks=ranks),
            ranks,
            (ranks.rows,),
            (*blocks, _VECTOR),
        )(programs.pad_rows_to(a, ranks.padded_rows(n)))
        return tuple(found), info[0]

    found, info = programs.auto(batchable_on_all(decompose), ranks, (blocks, _SCALAR))(a)
    return *found, info


def gives_polar(shape, dtype, *, call: Call) -> bool:
    """Return whether LAPACK's gesdd is the faster way to a polar decomposition, on one CPU.

    Milliseconds of one thread by the iteration and by gesdd, f64: 18 and 14 for n = 256, 108 and 87
    for n = 512, 753 and 690 for n = 1024. The iteration gains more from further threads.
    """
    return shape[1] <= 768 and has_gesdd(shape, dtype, call=call, vectors=True)


def polar_by_gesdd(a, *, call: Call, left: bool, factor_h: bool):
    """Decompose A = U S V^H on one CPU, as `polar` does: into U V^H and V S V^H or U S U^H."""
    s, u, vh, aside = gesdd(a, call=call, vectors=True)

    def factors(s, u, vh):
        unitary = _product(u, vh)
        if not factor_h:
            return (unitary,)
        h = _product(u * s, u.conj().T) if left else _product(vh.conj().T * s, vh)
        h = lax.optimization_barrier(h)  # XLA would compute its adjoint as another product.
        return unitary, (h + h.conj().T) / 2

    count = 2 if factor_h else 1
    found = programs.auto(factors, call.ranks, (call.ranks.rows,) * count)(s, u, vh)
    return *found, aside.info


def _product(a, b):
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def take_rows(m, order, *, call: Call):
    """Return rows `order` of the row blocks M, broadcasting the block of one rank at a time."""
    ranks, n = call.ranks, order.size
    share = ranks.shard_rows(n)

    def one_rank(m, order):
        rank = lax.axis_index(ranks.axes) if ranks.axes else 0
        wanted = jnp.pad(order, (0, share * ranks.size - n), constant_values=-1)
        wanted = lax.dynamic_slice(wanted, (rank * share,), (share,))
        result = jnp.zeros((share, m.shape[1]), m.dtype)
        for k in range(ranks.size):
            block = lax.psum(jnp.where(rank == k, m, 0), ranks.axes) if ranks.size > 1 else m
            place = wanted - k * m.shape[0]
            found = (place >= 0) & (place < m.shape[0])
            result = result + jnp.where(found[:, None], block[jnp.where(found, place, 0)], 0)
        return result

    run = programs.over_ranks(one_rank, ranks, (ranks.rows, _VECTOR), ranks.rows)
    return programs.auto(run, ranks, ranks.rows)(m, order.astype(np.int32))
