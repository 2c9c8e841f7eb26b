"""Time routines by their names in JAXMg 1.4, of that library or of this one, a process per GPU.

    python benchmarks/jaxmg_1_4.py --processes 4 --sizes 16384,32768

Which library is measured depends on the environment: an installation of one or the other. The
matrices are dense, pseudo-random and not donated; times are medians of warm calls inside jit. They
are made here, as is the check: JAXMg 1.4 has the name of this package, whose benchmarks it hides.
"""

import argparse
import functools
import socket
import statistics
import subprocess
import sys
import time

import jax
import jax.numpy as jnp

TILE = 512
MOST_SECONDS = 6.0  # of the samples of a routine


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--sizes", default="16384,32768")
    parser.add_argument("--routines", default=",".join(ROUTINES))
    parser.add_argument("--number", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.number is not None:
        run(options)
        return
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, *sys.argv, f"--port={port}"]
    started = [
        subprocess.Popen([*command, f"--number={number}"]) for number in range(options.processes)
    ]
    sys.exit(max(process.wait() for process in started))


def run(options):
    import jaxmg

    jax.config.update("jax_enable_x64", True)
    jax.distributed.initialize(
        f"localhost:{options.port}",
        options.processes,
        options.number,
        local_device_ids=[options.number],
    )
    mesh = jax.make_mesh((options.processes, 1), ("pr", "pc"))
    jax.set_mesh(mesh)
    for n in (int(size) for size in options.sizes.split(",")):
        for name in options.routines.split(","):
            seconds, error = measure(jaxmg, ROUTINES[name], n, mesh)
            if options.number == 0:
                print(f"{name:10} {n:7} {seconds:10.4f} s  error {error:.1e}", flush=True)


def measure(library, routine, n: int, mesh) -> tuple[float, float]:
    """Return the median time of a routine, and the error of its result."""
    make, call, error = routine
    on_rows = functools.partial(jax.NamedSharding, mesh)
    a = jax.jit(lambda: make(n), out_shardings=on_rows(jax.P("pr", "pc")))()
    b = jax.jit(
        lambda: jax.random.normal(jax.random.key(0), (n, 1)),
        out_shardings=on_rows(jax.P("pr", None)),
    )()
    timed = jax.jit(functools.partial(call, library))
    result = jax.block_until_ready(timed(a, b))
    taken = []
    while len(taken) < 4 and sum(taken) < MOST_SECONDS:
        began = time.perf_counter()
        result = jax.block_until_ready(timed(a, b))
        taken.append(time.perf_counter() - began)
    # Products of sharded arrays on a mesh whose axes are not explicit.
    automatic = jax.sharding.Mesh(mesh.devices, mesh.axis_names)
    with jax.set_mesh(automatic):
        arrays = jax.tree.map(functools.partial(placed, automatic), (a, b, result))
        found = jax.jit(error, out_shardings=jax.NamedSharding(automatic, jax.P()))(*arrays)
    return statistics.median(taken), float(found)


def placed(mesh, array):
    """Return an array with the same shards on another mesh of the same devices."""
    spec = getattr(array.sharding, "spec", jax.P())
    shards = [shard.data for shard in array.addressable_shards]
    sharding = jax.NamedSharding(mesh, spec)
    return jax.make_array_from_single_device_arrays(array.shape, sharding, shards)


# --- matrices and errors ------------------------------------------------------------------------


def general(n):
    return noise(jnp.arange(n)[:, None], jnp.arange(n)[None, :])


def positive_definite(n):
    i, j = jnp.arange(n)[:, None], jnp.arange(n)[None, :]
    a = noise(jnp.minimum(i, j), jnp.maximum(i, j))
    return a + jnp.where(i == j, 0.6 * n**0.5, 0)


def noise(i, j):
    """Return numbers between -1/2 and 1/2, a hash of i and j."""
    h = i.astype(jnp.uint32) * jnp.uint32(2654435761)
    h ^= j.astype(jnp.uint32) * jnp.uint32(2246822519) + jnp.uint32(374761393)
    h = (h ^ (h >> 15)) * jnp.uint32(2246822519)
    h = (h ^ (h >> 13)) * jnp.uint32(3266489917)
    return (h ^ (h >> 16)).astype(float) / 2**32 - 0.5


product = functools.partial(jnp.matmul, precision="highest")


def error_of_solution(a, b, result):
    x = result[0] if isinstance(result, tuple) else result
    return jnp.linalg.norm(product(a, x) - b) / (jnp.linalg.norm(a) * jnp.linalg.norm(x))


def error_of_q(a, b, result):
    q = result[0]
    return jnp.linalg.norm(product(q.T, product(q, b)) - b) / jnp.linalg.norm(b)


def error_of_eigenvalues(a, b, result):
    w = result[0]
    return jnp.abs(jnp.trace(a) - jnp.sum(w)) / jnp.sum(jnp.abs(w))


# Matrix, call, error.
ROUTINES = {
    "potrs": (
        positive_definite,
        lambda jaxmg, a, b: jaxmg.potrs(a, b, T_A=TILE, donate=False),
        error_of_solution,
    ),
    "lu_solve": (
        general,
        lambda jaxmg, a, b: jaxmg.lu_solve(a, b, TILE, donate=False),
        error_of_solution,
    ),
    "qr": (general, lambda jaxmg, a, b: jaxmg.qr(a, TILE, donate=False), error_of_q),
    "syevd": (
        positive_definite,
        lambda jaxmg, a, b: jaxmg.syevd(a, TILE, donate=False),
        error_of_eigenvalues,
    ),
}

if __name__ == "__main__":
    main()
