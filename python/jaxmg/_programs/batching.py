"""Batching rule (``vmap``) of all routines."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from jaxmg._mesh import programs
from jaxmg._mesh.ranks import Ranks
from jaxmg._programs.call import Call

# On one device, a batch of at least this number of matrices is solved at once, where a routine can:
# the time of JAX's batched Cholesky factorisations hardly depends on the number of a few matrices.
# For order 1024 in float64, 16 take 4.6 ms on one H200, and one by itself 0.6 ms.
FEWEST_AT_ONCE = 8
_BYTES_AT_ONCE = 2**28  # Larger batches are solved in parts.


def batchable(
    made_for,
    call: Call | None,
    by_one=False,
    *,
    merged: int | tuple[int, ...] = (),
    shared=(),
    at_once=None,
):
    """Return the function ``made_for(call)`` of arrays, with a batching rule for ``vmap``.

    Parameters
    ----------
    made_for : callable
        Returns the function for a call, on all of its ranks or on one.
    by_one : bool
        Whether one rank solves alone for all. Then each rank solves its share of a batch of
        matrices, one after another; otherwise all ranks solve one matrix after another.
    merged : int or tuple of int
        Operands that hold right-hand sides as rows, as many each. If only they are batched, one
        call solves for all of them.
    shared : tuple of bool
        The results that do not depend on the right-hand sides.
    at_once : callable, optional
        On one device, solve a batch of all operands at once: return (results, whether all matrices
        were solved). If one was not, all are solved again, one after another.
    """
    function = jax.custom_batching.custom_vmap(made_for(call))
    of_sides = (merged,) if isinstance(merged, int) else merged

    @function.def_vmap
    def batch(size, batched, *operands):
        if all(i in of_sides for i, one in enumerate(batched) if one):

            def every(operand, one):
                if size == 0:  # info is still needed without right-hand sides.
                    return jnp.zeros((1, operand.shape[-1]), operand.dtype)
                of_all = operand if one else jnp.broadcast_to(operand, (size, *operand.shape))
                return of_all.reshape(-1, operand.shape[-1])

            several = zip(operands, batched, strict=True)
            results = function(
                *(every(x, one) if i in of_sides else x for i, (x, one) in enumerate(several))
            )
            count = next(x.shape[-2] for x, one in zip(operands, batched, strict=True) if one)

            def of_batch(result):
                kept = result[: 0 if size == 0 else None]
                return kept.reshape(size, count, *result.shape[1:])

            if not shared:
                return of_batch(results), True
            return tuple(
                result if one else of_batch(result)
                for result, one in zip(results, shared, strict=True)
            ), tuple(not one for one in shared)

        if by_one and size > 1:
            single = jax.eval_shape(function, *_first_of(batched, operands))
            alone = made_for(call.alone())
            results = _divided(alone, call.ranks, tuple(batched), single, at_once)(*operands)
        elif call is not None and call.ranks.mesh is None and size >= FEWEST_AT_ONCE and at_once:
            single = jax.eval_shape(function, *_first_of(batched, operands))
            results = _divided(function, call.ranks, tuple(batched), single, at_once)(*operands)
        else:
            results = _one_by_one(function, batched, operands)
        return results, jax.tree.map(lambda _: True, results)

    return function


def batchable_on_all(function, **options):
    """Return ``function``, in which all ranks always work, with the batching rule for ``vmap``."""
    return batchable(lambda _: function, None, **options)


def _one_by_one(function, batched, operands, batch_size=None):
    def one_of_them(of_batch):
        of_batch = iter(of_batch)
        return function(
            *(
                next(of_batch) if one else operand
                for one, operand in zip(batched, operands, strict=True)
            )
        )

    return lax.map(
        one_of_them,
        [operand for one, operand in zip(batched, operands, strict=True) if one],
        batch_size=batch_size,
    )


def _size(batched, operands) -> int:
    return next(operand.shape[0] for one, operand in zip(batched, operands, strict=True) if one)


def _first_of(batched, operands):
    """Return shapes and dtypes of the operands of one call of a batch."""
    return [
        jax.ShapeDtypeStruct(operand.shape[1:] if one else operand.shape, operand.dtype)
        for one, operand in zip(batched, operands, strict=True)
    ]


def _in_parts(alone, at_once, batched, operands):
    """Solve a batch on one rank, in parts of several matrices at once."""

    @jax.custom_batching.custom_vmap
    def one(*operands):
        return alone(*operands)

    @one.def_vmap
    def part(size, batched, *operands):
        operands = [
            operand if one else jnp.broadcast_to(operand, (size, *operand.shape))
            for one, operand in zip(batched, operands, strict=True)
        ]
        results, fine = at_once(*operands)
        results = lax.cond(
            fine,
            lambda results, *_: results,
            lambda _, *operands: _one_by_one(alone, (True,) * len(operands), operands),
            results,
            *operands,
        )
        return results, jax.tree.map(lambda _: True, results)

    sizes = [
        operand.nbytes // operand.shape[0] if one else 0
        for one, operand in zip(batched, operands, strict=True)
    ]
    most = max(1, _BYTES_AT_ONCE // max(1, *sizes))
    return _one_by_one(one, batched, operands, batch_size=most)


def _divided(alone, ranks: Ranks, batched: tuple[bool, ...], single, at_once=None):
    """Return a function of a batch that is divided among the ranks.

    `alone` is the function of one call on one rank. `single` are the shapes of its results on all
    ranks, whose padding it may lack.
    """

    def on_rank(*operands):
        size = _size(batched, operands)
        if at_once is not None and size >= FEWEST_AT_ONCE:
            return _in_parts(alone, at_once, batched, operands)
        return _one_by_one(alone, batched, operands)

    def all_ranks(*operands):
        size = _size(batched, operands)
        share = PartitionSpec(ranks.axes)
        missing = ranks.padded_rows(size) - size

        def extended(operand):
            if at_once is None:
                return _padded(operand, (size + missing, *operand.shape[1:]))
            # Zeros would be matrices that cannot be solved.
            rest = ((0, 0),) * (operand.ndim - 1)
            return jnp.pad(operand, ((0, missing), *rest), mode="edge") if missing else operand

        operands = [
            extended(operand) if one else operand
            for one, operand in zip(batched, operands, strict=True)
        ]
        specs = tuple(share if one else PartitionSpec() for one in batched)
        results = programs.over_ranks(on_rank, ranks, specs, share)(*operands)
        return jax.tree.map(lambda x, one: _padded(x[:size], (size, *one.shape)), results, single)

    function = jax.custom_batching.custom_vmap(all_ranks)

    @function.def_vmap
    def batch_of_batches(outer, again, *operands):
        inner = next(
            operand.shape[1 if more else 0]
            for one, more, operand in zip(batched, again, operands, strict=True)
            if one
        )

        def merged(one, more, operand):
            if not one and not more:
                return operand
            shape = operand.shape[one + more :]
            operand = operand if more else operand[None]
            operand = operand if one else operand[:, None]
            return jnp.broadcast_to(operand, (outer, inner, *shape)).reshape(-1, *shape)

        operands = [merged(*each) for each in zip(batched, again, operands, strict=True)]
        either = tuple(one or more for one, more in zip(batched, again, strict=True))
        results = _divided(alone, ranks, either, single, at_once)(*operands)
        results = jax.tree.map(lambda x: x.reshape(outer, inner, *x.shape[1:]), results)
        return results, jax.tree.map(lambda _: True, results)

    return function


def _padded(x, shape):
    """Append zeros up to a shape."""
    missing = [(0, to - now) for now, to in zip(x.shape, shape, strict=True)]
    return jnp.pad(x, missing) if any(more for _, more in missing) else x
