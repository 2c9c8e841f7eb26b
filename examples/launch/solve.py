"""Solve a kernel system on all devices of all processes, under any launcher.

python solve.py                          one process, with all devices of this machine
python solve.py HOST:PORT COUNT NUMBER   process NUMBER of COUNT; number 0 is at HOST:PORT
python solve.py cluster                  started by SLURM or Open MPI, which set the rest
python solve.py mpi4py                   started by any MPI; mpi4py provides the rest
"""

import sys

import jax

if len(sys.argv) == 4:
    address, count, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    jax.distributed.initialize(address, count, number, local_device_ids=[number])
elif sys.argv[1:] == ["cluster"]:
    jax.distributed.initialize()
elif sys.argv[1:] == ["mpi4py"]:
    jax.distributed.initialize(cluster_detection_method="mpi4py")
elif sys.argv[1:]:
    sys.exit(__doc__)

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec as P

import jaxmg

mesh = jax.make_mesh((jax.device_count(),), ("x",))
n = (4096 if jax.default_backend() == "gpu" else 256) * jax.device_count()


# Each process creates its own rows.
def matrix():
    distance = (jnp.arange(n)[:, None] - jnp.arange(n)[None, :]) / 50
    return jnp.exp(-(distance**2)) + 0.01 * jnp.eye(n)


A = jax.jit(matrix, out_shardings=NamedSharding(mesh, P("x", None)))()
b = jax.jit(lambda: jnp.ones(n), out_shardings=NamedSharding(mesh, P()))()


@jax.jit
def solve(A, b):
    x = jaxmg.linalg.solve(A, b, assume_a="pos")
    return x, jnp.linalg.norm(A @ x - b) / jnp.linalg.norm(b)


x, residual = solve(A, b)
if jax.process_index() == 0:
    print(
        f"{jax.process_count()} processes, {jax.device_count()} devices: n = {n}, "
        f"relative residual {residual:.1e}"
    )
