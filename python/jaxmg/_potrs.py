"""The traced program of a Cholesky solve: global arrays in, (x, info) out.

JAX's row shard ``(s, N)`` of A, read column-major, is a column block of ``A.T = conj(A)``. The
native code factors that matrix without transposing anything; instead, the thin right-hand side is
conjugated and transposed here, and so is the solution.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from jaxmg import _ffi, _memory, _native, _sharding
from jaxmg._sharding import Ranks

_REPLICATED = PartitionSpec(None, None)


def solve(
    a, b, ranks: Ranks, *, x_ndim, x_spec=None, tile=None, workspace_limit=None, donate=False
):
    """Solve A X = B on `ranks`; a (N, N) and b (N,) or (N, nrhs) are validated already.

    Concrete arguments go through a cached ``jit``, traced ones into the caller's program, so that
    each call there is its own call site. x has `x_ndim` dimensions and the sharding `x_spec` on
    the ranks' mesh (None: replicated on an Explicit mesh, XLA's choice on an Auto one).
    """
    if b.size == 0:
        return _empty(b, x_ndim)
    _native.require(ranks.platform)
    if _sharding.is_traced(a, b):
        program = _program
    else:
        program = _compiled_donating if donate else _compiled
    a, b = _placed(a, b, ranks)
    with _sharding.entered(ranks):
        x, info, *_ = program(
            a,
            b,
            ranks=ranks,
            x_ndim=x_ndim,
            x_spec=x_spec,
            tile=tile,
            workspace_limit=workspace_limit,
        )
    return x, info


def solve_on_shards(a, b, ranks: Ranks, *, tile=None):
    """Solve from inside ``shard_map``: a is this rank's rows, b and x are whole on every rank."""
    n, nrhs = b.shape
    if b.size == 0:
        return _empty(b, 2)
    _native.require(ranks.platform)
    call = _plan(b, ranks, tile, None)
    b = b.conj().T
    if call.distributed_rhs:
        share = ranks.shard_rows(nrhs)
        b = _sharding.pad_rows_to(b, ranks.size * share)
        b = lax.dynamic_slice_in_dim(b, lax.axis_index(ranks.axes) * share, share)
    _, x, info = _ffi.potrs(a, b, n=n, call=call, ranks=ranks)
    if call.distributed_rhs:
        x = lax.all_gather(x, ranks.axes, tiled=True)
    return x[:nrhs].conj().T, info[0]


def _program(a, b, *, ranks: Ranks, x_ndim, x_spec, tile, workspace_limit):
    """Return (x, info, factor)."""

    def all_ranks(a, b):
        b = b if b.ndim == 2 else b[:, None]
        n, nrhs = b.shape
        call = _plan(b, ranks, tile, workspace_limit)
        b_rows = ranks.rows if call.distributed_rhs else _REPLICATED

        def one_rank(a, b):
            return _ffi.potrs(a, b, n=n, call=call, ranks=ranks)

        a = _sharding.pad_rows_to(a, ranks.size * ranks.shard_rows(n))
        b = b.conj().T
        if call.distributed_rhs:
            b = _sharding.pad_rows_to(b, ranks.size * ranks.shard_rows(nrhs))
        factor, x, info = _sharding.over_ranks(
            one_rank, ranks, (ranks.rows, b_rows), (ranks.rows, b_rows, PartitionSpec(None))
        )(a, b)
        x = x[:nrhs].conj().T
        return x if x_ndim == 2 else x[:, 0], info[0], factor

    return _sharding.auto(all_ranks, ranks, (x_spec, PartitionSpec(), ranks.rows))(a, b)


_STATIC = ("ranks", "x_ndim", "x_spec", "tile", "workspace_limit")


@functools.partial(jax.jit, static_argnames=_STATIC)
def _compiled(a, b, **static):
    x, info, _ = _program(a, b, **static)
    return x, info


# XLA lets a program overwrite a donated argument only where a result takes its place, so this one
# returns the factor, too.
_compiled_donating = jax.jit(_program, static_argnames=_STATIC, donate_argnums=0)


def _plan(b, ranks: Ranks, tile, workspace_limit) -> _native.CallPlan:
    n, nrhs = b.shape

    def plan_for(limit):
        return _native.plan(
            "potrs",
            n,
            nrhs,
            np.dtype(b.dtype),
            ranks=ranks.size,
            tile=tile or 0,
            platform=ranks.platform,
            processes=ranks.processes,
            workspace_limit=limit,
        )

    return (
        plan_for(workspace_limit) if workspace_limit else _memory.fitted(plan_for, ranks.platform)
    )


def _placed(a, b, ranks: Ranks):
    """Bring concrete arrays onto the ranks' devices, a in (padded) row blocks if it has to move."""
    if ranks.mesh is None:
        return _together(a, b)
    if _sharding.on_one_device(a):
        a = _sharding.pad_rows_to(a, ranks.size * ranks.shard_rows(a.shape[0]))
    divisible = a.shape[0] % ranks.size == 0
    return (
        _sharding.place(a, "a", ranks, ranks.rows if divisible else PartitionSpec()),
        _sharding.place(b, "b", ranks, PartitionSpec()),
    )


def _together(a, b):
    """Bring b to the one device of a."""
    if _sharding.is_committed(a) and _sharding.is_committed(b) and a.sharding != b.sharding:
        b = jax.device_put(b, a.sharding)
    return a, b


def _empty(b, x_ndim):
    shape = b.shape if x_ndim == b.ndim else (*b.shape, 1)
    return jnp.zeros(shape, b.dtype), jnp.zeros((), np.int32)
