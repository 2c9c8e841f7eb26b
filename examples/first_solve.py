"""Solve a diagonal system whose matrix is sharded by rows over all devices."""

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
