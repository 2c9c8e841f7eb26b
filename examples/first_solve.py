"""A first solve: a diagonal system whose matrix is sharded by rows over all devices.

The call is that of JAXMg 0.0.x; the solution has the elements 1, 1/2, 1/3 and so on.
"""

import os

import jax

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P, NamedSharding
from jaxmg import potrs

devices = jax.devices()
N = 12
T_A = 3
dtype = jnp.float64
A = jnp.diag(jnp.arange(N, dtype=dtype) + 1)
b = jnp.ones((N, 1), dtype=dtype)
mesh = jax.make_mesh((len(devices),), ("x",))
A = jax.device_put(A, NamedSharding(mesh, P("x", None)))
b = jax.device_put(b, NamedSharding(mesh, P(None, None)))
out = potrs(A, b, T_A=T_A, mesh=mesh, in_specs=(P("x", None),))
print(out)
print(jnp.allclose(out.flatten(), 1.0 / (jnp.arange(N, dtype=dtype) + 1)))

if path := os.environ.get("JAXMG_EXAMPLE_PICTURE"):
    from matplotlib import pyplot as plt

    plt.figure(figsize=(6, 3), layout="constrained")
    owners = [i * len(devices) // N for i in range(N)]
    plt.bar(range(N), out.ravel(), color=[f"C{owner}" for owner in owners])
    plt.xticks(range(N), [f"row {i}\non {owner}" for i, owner in enumerate(owners)], fontsize=7)
    plt.xlabel("row of the matrix, and its device")
    plt.ylabel("x")
    plt.savefig(path, dpi=130)
