"""The programs of the Cholesky routines: global arrays in, global arrays out.

JAX's row shard ``(s, N)`` of A, read column-major, is a column block of ``A.T = conj(A)``. The
native code factors that matrix without transposing anything; instead, the thin right-hand side is
conjugated and transposed here, and so is the solution.

N x N operands and results that only this package sees are *row blocks*: the P * ceil(N / P) rows of
all ranks, of which those from N on are zero. (A factor has the same shape, and other contents.)
"""

import dataclasses
import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from jaxmg import _backends, _ffi, _memory, _native, _sharding, _varying
from jaxmg._ffi import BACKWARD, BOTH, FORWARD
from jaxmg._sharding import Ranks

__all__ = ["BACKWARD", "BOTH", "FORWARD", "Call"]

_REPLICATED = PartitionSpec(None, None)


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

    def plan(self, routine: str, n: int, nrhs: int, dtype, **arguments) -> _native.CallPlan:
        request = _backends.Request.on(self.ranks, n, nrhs, dtype)
        backend = _backends.of_step(self.backend, routine)
        # Columns of blocks of A are rows of the grid that A^T is dealt over.
        in_blocks = self.blocks is not None and routine != "potrf"
        grid_rows = _sharding.parts(self.ranks.mesh, self.blocks[1]) if in_blocks else 0

        def plan_for(limit):
            return _backends.plan_step(
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
        return _memory.fitted(plan_for, self.ranks.platform)

    def of_factor(self, a) -> "Call":
        """Return this call with the tile size that a factor of A has, for what is done with it."""
        if a.size == 0:
            return self
        return dataclasses.replace(self, tile=self.plan("potrf", a.shape[-1], 1, a.dtype).tile)


# --- the routines -----------------------------------------------------------------------------


def posv(a, b, *, call: Call, x_spec=None):
    """Solve A X = B for b (N,) or (N, nrhs), a as in `potrf`; return (x, info, factor).

    x has the sharding `x_spec` on the ranks' mesh (None: replicated on an Explicit mesh, XLA's
    choice on an Auto one).
    """
    ranks, n = call.ranks, a.shape[1]
    specs = x_spec, PartitionSpec(), call.matrix
    if b.size == 0:
        return _sharding.auto(functools.partial(_nothing_solved, ranks), ranks, specs)(a, b)

    def solve(a, rhs):
        plan = call.plan("posv", n, rhs.shape[0], a.dtype)
        rhs_spec, padded = _distributed(rhs, plan, ranks)
        factor, x, info = _sharding.over_ranks(
            functools.partial(_ffi.posv, call=plan, ranks=ranks),
            ranks,
            (call.matrix, rhs_spec),
            (call.matrix, rhs_spec, PartitionSpec(None)),
        )(_sharding.pad_rows_to(a, ranks.padded_rows(n)), padded)
        return factor, x[: rhs.shape[0]], info[0]

    def all_ranks(a, b):
        factor, x, info = batchable(solve, merged=1, shared=(True, False, True))(a, _as_rows(b))
        return _as_columns(x, b.ndim), info, factor

    return _sharding.auto(all_ranks, ranks, specs)(a, b)


def _nothing_solved(ranks: Ranks, a, b):
    """Return what `posv` does for a matrix of order 0, or without right-hand sides."""
    return b, jnp.zeros((), np.int32), _sharding.pad_rows_to(a, ranks.padded_rows(a.shape[1]))


def potrf(a, *, call: Call):
    """Factor A, a matrix or its row blocks; return (factor, info)."""
    ranks, n, specs = call.ranks, a.shape[1], (call.ranks.rows, PartitionSpec())
    if a.size == 0:
        return _sharding.auto(lambda a: (a, jnp.zeros((), np.int32)), ranks, specs)(a)
    plan = call.plan("potrf", n, 1, a.dtype)

    def factor(a):
        factor, info = _sharding.over_ranks(
            functools.partial(_ffi.potrf, call=plan, ranks=ranks),
            ranks,
            (ranks.rows,),
            (ranks.rows, PartitionSpec(None)),
        )(_sharding.pad_rows_to(a, ranks.padded_rows(n)))
        return factor, info[0]

    return _sharding.auto(batchable(factor), ranks, specs)(a)


def potrs(factor, b, *, call: Call, sweeps: int, x_spec=None):
    """Solve A X = B (BOTH), L X = B (FORWARD) or L^H X = B (BACKWARD), for b as in `posv`."""
    if b.size == 0:
        return _sharding.auto(lambda b: b, call.ranks, x_spec)(b)

    def all_ranks(factor, b):
        solve = batchable(_row_solve(call, factor.shape[1], sweeps), merged=1)
        return _as_columns(solve(factor, _as_rows(b)), b.ndim)

    return _sharding.auto(all_ranks, call.ranks, x_spec)(factor, b)


def potrs_rows(factor, r, *, call: Call, sweeps: int):
    """Multiply row blocks R from the right: R A^-1 (BOTH), R L^-H (FORWARD), R L^-1 (BACKWARD).

    This is (A^-1 R^H)^H, and so on: the rows of R are what the native code takes for right-hand
    sides.
    """
    if r.size == 0:
        return r
    solve = batchable(_row_solve(call, factor.shape[1], sweeps))
    return _sharding.auto(solve, call.ranks, call.ranks.rows)(factor, r)


def potri(factor, *, call: Call):
    """Return the inverse of A in row blocks."""
    return _from_factor(_ffi.potri, "potri", factor, call)


def lower(factor, *, call: Call):
    """Return L in row blocks."""
    return _from_factor(_ffi.lower, "lower", factor, call)


def diagonal(factor, *, call: Call):
    """Return the (N,) diagonal of L."""
    if factor.size == 0:
        return _sharding.auto(jnp.ravel, call.ranks, PartitionSpec(None))(factor)
    ranks, n = call.ranks, factor.shape[1]
    plan = call.plan("diagonal", n, 1, factor.dtype)
    values = _sharding.over_ranks(
        functools.partial(_ffi.diagonal, call=plan, ranks=ranks),
        ranks,
        (ranks.rows,),
        _REPLICATED,
    )
    return _sharding.auto(batchable(values), ranks, _REPLICATED)(factor)[0]


def _row_solve(call: Call, n: int, sweeps: int):
    ranks = call.ranks
    if sweeps != BOTH:  # Vendors' libraries solve with L and L^H at once.
        call = dataclasses.replace(call, backend="tiled")

    def solve(factor, rhs):
        plan = call.plan("potrs", n, rhs.shape[0], factor.dtype, sweeps=sweeps)
        rhs_spec, padded = _distributed(rhs, plan, ranks)
        x = _sharding.over_ranks(
            functools.partial(_ffi.potrs, call=plan, ranks=ranks),
            ranks,
            (rhs_spec, ranks.rows),
            rhs_spec,
        )(padded, factor)
        return x[: rhs.shape[0]]

    return solve


def _from_factor(routine, name: str, factor, call: Call):
    """Call a routine that puts an N x N result in row blocks in place of the factor."""
    if factor.size == 0:
        return factor
    ranks, n = call.ranks, factor.shape[1]
    plan = call.plan(name, n, 1, factor.dtype)

    def one_rank(factor):
        result = routine(factor, call=plan, ranks=ranks)
        if n == ranks.padded_rows(n):
            return result
        rows = ranks.shard_rows(n)
        row = lax.axis_index(ranks.axes) * rows + jnp.arange(rows, dtype=np.int32)
        return jnp.where(row[:, None] < n, result, 0)

    run = _sharding.over_ranks(one_rank, ranks, (ranks.rows,), ranks.rows)
    return _sharding.auto(batchable(run), ranks, ranks.rows)(factor)


# --- inside the caller's shard_map ------------------------------------------------------------


def posv_on_shards(a, b, call: Call):
    """Solve for this rank's rows of A; b and x are whole on every rank. Return (x, info)."""
    ranks, (n, nrhs) = call.ranks, b.shape
    if b.size == 0:
        return jnp.zeros_like(b), jnp.zeros((), np.int32)
    plan = call.plan("posv", n, nrhs, a.dtype)
    b = b.conj().T
    if plan.distributed_rhs:
        share = ranks.shard_rows(nrhs)
        b = _sharding.pad_rows_to(b, ranks.size * share)
        b = lax.dynamic_slice_in_dim(b, lax.axis_index(ranks.axes) * share, share)
    _, x, info = _ffi.posv(a, b, call=plan, ranks=ranks)
    if plan.distributed_rhs:
        x = lax.all_gather(x, ranks.axes, tiled=True)
    x, info = (_varying.invariant(result, ranks.axes) for result in (x, info))
    return x[:nrhs].conj().T, info[0]


def inverse_on_shards(a, call: Call):
    """Invert A, of which each rank has its rows; return (this rank's rows of the inverse, info)."""
    n = a.shape[1]
    if a.size == 0:
        return a, jnp.zeros((), np.int32)
    plan = call.plan("potrf", n, 1, a.dtype)
    factor, info = _ffi.potrf(a, call=plan, ranks=call.ranks)
    plan = call.of_factor(a).plan("potri", n, 1, a.dtype)
    x = _ffi.potri(factor, call=plan, ranks=call.ranks)
    return x, _varying.invariant(info, call.ranks.axes)[0]


# --- right-hand sides and batches -------------------------------------------------------------


def _as_rows(b):
    b = b if b.ndim == 2 else b[:, None]
    return b.conj().T


def _as_columns(x, ndim: int):
    x = x.conj().T
    return x if ndim == 2 else x[:, 0]


def _distributed(rhs, plan: _native.CallPlan, ranks: Ranks):
    """Return the spec of the right-hand sides (rows) as the plan wants them, and them padded."""
    if not plan.distributed_rhs:
        return _REPLICATED, rhs
    return ranks.rows, _sharding.pad_rows_to(rhs, ranks.padded_rows(rhs.shape[0]))


def batchable(function, *, merged: int | None = None, shared=()):
    """Return `function` with a rule for ``vmap``.

    A batch of matrices is worked on one after another, each by all ranks. Where only operand
    `merged` is batched, and so holds the right-hand sides of one matrix as rows, they are solved
    for at once; `shared` says which of several results then are those of one call.
    """
    function = jax.custom_batching.custom_vmap(function)

    @function.def_vmap
    def batch(size, batched, *operands):
        if [i for i, one in enumerate(batched) if one] == [merged]:
            rows = operands[merged]
            every = rows.reshape(-1, rows.shape[-1])
            if size == 0:  # Of a matrix without right-hand sides, info is still wanted.
                every = jnp.zeros((1, rows.shape[-1]), rows.dtype)
            results = function(*operands[:merged], every, *operands[merged + 1 :])

            def of_batch(result):
                return result[: 0 if size == 0 else None].reshape(rows.shape)

            if not shared:
                return of_batch(results), True
            return tuple(
                result if one else of_batch(result)
                for result, one in zip(results, shared, strict=True)
            ), tuple(not one for one in shared)

        def one_of_them(of_batch):
            of_batch = iter(of_batch)
            return function(
                *(
                    next(of_batch) if one else operand
                    for one, operand in zip(batched, operands, strict=True)
                )
            )

        results = lax.map(
            one_of_them,
            [operand for one, operand in zip(batched, operands, strict=True) if one],
        )
        return results, jax.tree.map(lambda _: True, results)

    return function
