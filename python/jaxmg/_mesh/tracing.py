"""Predicates for traced arrays, and for the placement of concrete ones."""

import jax
import numpy as np


def is_traced(*arrays) -> bool:
    return any(isinstance(array, jax.core.Tracer) for array in arrays)


def is_staged() -> bool:
    """Return whether a program is being traced: a new value is a tracer."""
    return is_traced(jax.lax.iota(np.int32, 1))  # No operands, hence no transfers.


def is_committed(array) -> bool:
    """Return whether a (concrete) array is committed to its devices."""
    return isinstance(array, jax.Array) and not is_traced(array) and array.committed


def on_one_device(array) -> bool:
    """Return whether a concrete array is on one device, or still on the host."""
    if is_traced(array):
        return False
    return not isinstance(array, jax.Array) or len(array.sharding.device_set) == 1
