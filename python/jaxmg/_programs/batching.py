"""Batching rule (``vmap``) of all routines."""

import jax
import jax.numpy as jnp
from jax import lax


def batchable(function, *, merged: int | None = None, shared=()):
    """Return `function` with a batching rule for ``vmap``.

    A batch of matrices is processed one after another, each by all ranks. If only operand `merged`
    is batched, it holds right-hand sides of one matrix as rows, and one call solves for all of
    them; `shared` then marks the results that do not depend on the right-hand sides.
    """
    function = jax.custom_batching.custom_vmap(function)

    @function.def_vmap
    def batch(size, batched, *operands):
        if [i for i, one in enumerate(batched) if one] == [merged]:
            rows = operands[merged]
            every = rows.reshape(-1, rows.shape[-1])
            if size == 0:  # info is still needed without right-hand sides.
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
