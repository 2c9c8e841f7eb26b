import jax

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import jaxmg

mesh = jax.make_mesh((len(jax.devices()),), ("x",), axis_types=(AxisType.Auto,))
rows = NamedSharding(mesh, P("x", None))
n = 16 * len(jax.devices())
G = jax.random.normal(jax.random.key(0), (n, n))
A = jax.device_put(G @ G.T + n * jnp.eye(n), rows)  # Hermitian positive definite
b = jnp.ones(n)
