"""Process that saves a program, or runs a saved one: exported_worker.py TASK PATH.

test_exported.py starts it. The tasks that run a program only import `jaxmg`.
"""

import sys
from pathlib import Path

import jax
import jaxmg
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

MESH = Mesh(np.array(jax.devices()), ("x",))
ROWS, EVERYWHERE = NamedSharding(MESH, P("x", None)), NamedSharding(MESH, P())


def system():
    g = np.random.default_rng(0).standard_normal((6, 6))
    return g @ g.T + np.eye(6), g[:, :2]


def placed_system():
    a, b = system()
    return jax.device_put(a, ROWS), jax.device_put(b, EVERYWHERE)


def cache(path, *order):
    """Compile programs in the given order, with the persistent compilation cache at `path`."""
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    linalg, (a, b) = jaxmg.linalg, placed_system()

    @jax.jit
    def solve_twice(a, b):
        return linalg.solve(a, linalg.solve(a, b, assume_a="pos"), assume_a="pos")

    programs = (
        lambda: linalg.solve(a, b, assume_a="pos"),
        lambda: linalg.eigh(a),
        lambda: linalg.logdet(a),
        lambda: solve_twice(a, b),
        lambda: jax.jit(jax.grad(linalg.logdet))(a),
    )
    assert len(order) == len(programs)
    for i in order:
        jax.block_until_ready(programs[int(i)]())


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    _, task, where, *rest = sys.argv
    globals()[task](Path(where), *rest)
    print("fine")
