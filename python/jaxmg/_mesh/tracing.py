"""What is traced, and where concrete arrays are."""

import jax
import numpy as np


def is_traced(*arrays) -> bool:
    return any(isinstance(array, jax.core.Tracer) for array in arrays)


def is_staged() -> bool:
    """Say whether a program is being traced: what is computed here and now is a tracer."""
    return is_traced(jax.lax.iota(np.int32, 1))  # It has no operands, so that nothing is moved.


def is_committed(array) -> bool:
    """Say whether a (concrete) array was put on its devices on purpose."""
    return isinstance(array, jax.Array) and not is_traced(array) and array.committed


def on_one_device(array) -> bool:
    """Say whether a concrete array is on one device, or on the host still."""
    if is_traced(array):
        return False
    return not isinstance(array, jax.Array) or len(array.sharding.device_set) == 1
