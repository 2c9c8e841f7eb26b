"""Public utilities: test matrices, the sharding of an array, the warning class."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxmg._warning import JaxMgWarning

__all__ = ["JaxMgWarning", "get_mesh_and_spec_from_array", "random_psd"]


def random_psd(n, dtype, seed):
    """Return a reproducible, well conditioned Hermitian positive definite matrix.

    Parameters
    ----------
    n : int
        Order of the matrix.
    dtype : dtype
        float32, float64, complex64 or complex128.
    seed : int
        Seed of the random number generator.

    Returns
    -------
    jax.Array
        ``(n, n)``, on JAX's default device: ``G @ G.conj().T / n + I`` with a Gaussian ``G``.

    Examples
    --------
    >>> random_psd(4, "float32", 0).shape
    (4, 4)
    """
    generator = np.random.default_rng(seed)
    g = generator.standard_normal((n, n))
    if np.issubdtype(np.dtype(dtype), np.complexfloating):
        g = (g + 1j * generator.standard_normal((n, n))) / np.sqrt(2)
    matrix = g @ g.conj().T / max(n, 1) + np.eye(n)
    return jnp.asarray(matrix, dtype=dtype)


def get_mesh_and_spec_from_array(array) -> tuple[Mesh, PartitionSpec]:
    """Return the mesh and the partition spec of an array that has a ``NamedSharding``.

    Raises
    ------
    ValueError
        If `array` is not sharded by a ``NamedSharding``.

    Examples
    --------
    >>> mesh = jax.make_mesh((1,), ("x",))
    >>> a = jax.device_put(jnp.eye(2), NamedSharding(mesh, PartitionSpec("x", None)))
    >>> get_mesh_and_spec_from_array(a)[1] == PartitionSpec("x", None)
    True
    """
    if isinstance(array, jax.core.Tracer):
        sharding = jax.typeof(array).sharding
        if sharding.mesh.empty:
            raise ValueError(f"array must have a NamedSharding, got a traced array {array.aval}")
        return sharding.mesh, sharding.spec
    sharding = getattr(array, "sharding", None)
    if not isinstance(sharding, NamedSharding):
        raise ValueError(f"array must have a NamedSharding, got {sharding or type(array)}")
    return sharding.mesh, sharding.spec
