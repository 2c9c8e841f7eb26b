"""Argument checks, made while tracing; every message names the argument and the value given."""

import operator

import jax
import jax.numpy as jnp
import numpy as np

from jaxmg._mesh import placement
from jaxmg._supported import DTYPES


class ArgumentError(ValueError, AssertionError):
    """Shape error; also an AssertionError, which callers of JAXMg 0.0.x catch."""


def as_array(value, name: str):
    """Return `value` as a JAX or NumPy array of a supported dtype; see `as_arrays`."""
    return as_arrays((name, value))[0]


def as_arrays(*named):
    """Return the values of pairs (name, value) as JAX or NumPy arrays of one supported dtype.

    The dtype is promoted as in `jax.numpy.linalg`: to the common dtype, and from integers and bools
    to JAX's default float. Host arrays stay on the host: they need not fit on a single device.
    """
    arrays = [_of_any_dtype(value, name) for name, value in named]
    dtype = jnp.result_type(*arrays)
    if not jnp.issubdtype(dtype, np.inexact):
        dtype = _float_of(dtype)
    return tuple(placement.converted(array, dtype) for array in arrays)


def _float_of(dtype):
    """Return the float dtype to which `jax.numpy` promotes integers or bools."""
    return jax.eval_shape(jnp.sqrt, jax.ShapeDtypeStruct((), dtype)).dtype


def _of_any_dtype(value, name: str):
    array = value
    if not isinstance(value, jax.Array):
        array = np.asarray(value)
        if array.dtype.kind in "biufc":
            array = array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)
    whole = jnp.issubdtype(array.dtype, np.integer) or array.dtype == bool
    if not whole and np.dtype(array.dtype) not in DTYPES:
        expected = ", ".join(str(dtype) for dtype in DTYPES)
        raise TypeError(
            f"{name} must have one of the dtypes {expected}, or integers or bools, which are "
            f"converted; got {array.dtype}"
        )
    return array


def as_matrix(a):
    """Return the argument `a` as `as_array` does, checked to be a matrix."""
    a = as_array(a, "a")
    check_matrix(a)
    return a


def check_matrix(a) -> None:
    if a.ndim != 2:
        raise ArgumentError(f"a must be a 2D array, got shape {a.shape}")


def check_square(a) -> None:
    check_matrix(a)
    if a.shape[0] != a.shape[1]:
        raise ArgumentError(f"a must be a square matrix, got shape {a.shape}")


def check_right_hand_side(a, b) -> None:
    if b.ndim not in (1, 2):
        raise ArgumentError(f"b must be a 1D or 2D array, got shape {b.shape}")
    if b.shape[0] != a.shape[1]:
        raise ArgumentError(
            f"A and b must have the same number of columns of A as rows of b; "
            f"got shapes {a.shape} and {b.shape}"
        )


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
    if number >= 2**63:
        raise ValueError(f"{name} must be below 2**63, got {number}")
    return number


def real_scalar(value, name: str, dtype):
    """Return a real scalar as an array of the real dtype that corresponds to `dtype`.

    A scalar on a device, or a traced one, keeps its dtype; the program converts it.
    """
    real = np.finfo(dtype).dtype
    array = value if isinstance(value, jax.Array) else np.asarray(value)
    if array.shape != ():
        raise ValueError(f"{name} must be a scalar, got an array of shape {array.shape}")
    kinds = (np.integer, np.floating, np.bool_)
    if not any(jnp.issubdtype(array.dtype, kind) for kind in kinds):
        raise TypeError(f"{name} must be a real number, got the dtype {array.dtype}")
    jnp.result_type(value, real)  # Raises where jax_numpy_dtype_promotion is "strict".
    return array if isinstance(array, jax.Array) else array.astype(real)
