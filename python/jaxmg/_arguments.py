"""Checks of arguments, all made while tracing; every message says what was given."""

import operator

import jax
import jax.numpy as jnp
import numpy as np

from jaxmg import _native


class ArgumentError(ValueError, AssertionError):
    """A wrong shape. (An AssertionError too: callers of JAXMg 0.0.x catch that.)"""


def as_array(value, name: str):
    """Return `value` as a JAX or NumPy array of a supported dtype.

    What is not on a device yet stays on the host, so that it need not fit on a single device.
    """
    array = value
    if not isinstance(value, jax.Array):
        array = np.asarray(value)
        array = array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)
    if np.dtype(array.dtype) not in _native.DTYPES:
        expected = ", ".join(str(dtype) for dtype in _native.DTYPES)
        raise TypeError(f"{name} must have one of the dtypes {expected}; got {array.dtype}")
    return array


def check_square(a) -> None:
    if a.ndim != 2:
        raise ArgumentError(f"a must be a 2D array, got shape {a.shape}")
    if a.shape[0] != a.shape[1]:
        raise ArgumentError(f"a must be a square matrix, got shape {a.shape}")


def check_right_hand_side(a, b, name="a") -> None:
    if b.ndim not in (1, 2):
        raise ArgumentError(f"b must be a 1D or 2D array, got shape {b.shape}")
    if b.shape[0] != a.shape[1]:
        raise ArgumentError(
            f"A and b must have the same number of columns of A as rows of b; "
            f"got shapes {a.shape} and {b.shape}"
        )
    if a.dtype != b.dtype:
        raise TypeError(f"{name} and b must have the same dtype, got {a.dtype} and {b.dtype}")


def positive_int(value, name: str) -> int | None:
    """Return `value` as an int >= 1, or None for None."""
    if value is None:
        return None
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if number < 1:
        raise ValueError(f"{name} must be at least 1, got {number}")
    return number


def real_scalar(value, name: str, dtype):
    """Return a real number, which goes with a matrix of `dtype`, as an array of the real dtype.

    One that is on a device, or traced, keeps its dtype, for the program to convert.
    """
    real = np.finfo(dtype).dtype
    jnp.result_type(value, real)  # Raises where promotion is strict.
    if not isinstance(value, jax.Array):
        value = np.asarray(value)
    if value.shape != ():
        raise ValueError(f"{name} must be a scalar, got an array of shape {value.shape}")
    if not jnp.issubdtype(value.dtype, np.number) and value.dtype != bool:
        raise TypeError(f"{name} must be a real number, got the dtype {value.dtype}")
    if jnp.issubdtype(value.dtype, np.complexfloating):
        raise TypeError(f"{name} must be a real number, got the dtype {value.dtype}")
    return value if isinstance(value, jax.Array) else value.astype(real)
