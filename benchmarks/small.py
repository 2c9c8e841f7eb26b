"""Small matrices: one device for all against several, and JAX's own functions.

    python benchmarks/small.py                                # all routines, default orders
    python benchmarks/small.py --routines solve,eigh --sizes 2048,4096 --dtype float32
    python benchmarks/small.py --batch 64 --sizes 256,1024    # vmap over a batch of matrices

Prints a Markdown table of milliseconds for each routine and order:

    jax       JAX's function on one device
    1         jaxmg on one device
    n by 1    jaxmg on all devices, one of which works; or a batch, divided among them
    n         jaxmg on all devices, which work together; or on one matrix of a batch after another

The orders in cpp/planner/one_rank.h are the largest at which the third time is below the fourth.
Times are medians of calls that alternate between the columns; the input is not donated. Threads of
BLAS spin on a CPU that is also busy with other work: there, set OPENBLAS_NUM_THREADS=1.
"""

import argparse
import functools
import os
import statistics
import time

_DEFAULT = {"gpu": (256, 1024, 2048, 3072, 4096, 6144, 8192), "cpu": (64, 256, 512, 1024)}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--routines", help="comma-separated, by default all")
    parser.add_argument("--sizes", help="comma-separated orders")
    parser.add_argument("--dtype", default="float64")
    parser.add_argument("--devices", type=int, default=4, help="on CPUs: virtual devices")
    parser.add_argument("--batch", type=int, default=0, help="number of matrices")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each row of the table")
    options = parser.parse_args()
    flag = f" --xla_force_host_platform_device_count={options.devices}"
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + flag
    measure(options)


def routines():
    """Return (JAX's function, ours) of a matrix and a right-hand side, by name."""
    import jax.numpy as jnp
    import jax.scipy.linalg as jsp
    from jaxmg import linalg

    def identity(a):
        return jnp.eye(a.shape[0], dtype=a.dtype)

    return {
        "solve_pos": (
            lambda a, b: jsp.cho_solve(jsp.cho_factor(a), b),
            lambda a, b: linalg.solve(a, b, assume_a="pos"),
        ),
        "solve": (jnp.linalg.solve, linalg.solve),
        "cho_factor": (lambda a, b: jsp.cho_factor(a)[0], lambda a, b: linalg.cho_factor(a)),
        "inv_pos": (
            lambda a, b: jsp.cho_solve(jsp.cho_factor(a), identity(a)),
            lambda a, b: linalg.inv(a, assume_a="pos"),
        ),
        "inv": (lambda a, b: jnp.linalg.inv(a), lambda a, b: linalg.inv(a)),
        "lu_factor": (lambda a, b: jsp.lu_factor(a), lambda a, b: linalg.lu_factor(a)),
        "solve_triangular": (
            lambda a, b: jsp.solve_triangular(a, b, lower=True),
            lambda a, b: linalg.solve_triangular(a, b, lower=True),
        ),
        "eigh": (lambda a, b: jnp.linalg.eigh(a), lambda a, b: linalg.eigh(a)),
        "eigvalsh": (lambda a, b: jnp.linalg.eigvalsh(a), lambda a, b: linalg.eigvalsh(a)),
        "svd": (
            lambda a, b: jnp.linalg.svd(a, full_matrices=False),
            lambda a, b: linalg.svd(a),
        ),
        "svdvals": (lambda a, b: jnp.linalg.svdvals(a), lambda a, b: linalg.svdvals(a)),
    }


def measure(options):
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    jax.config.update("jax_enable_x64", True)
    devices = jax.devices()[: options.devices]
    mesh = Mesh(np.array(devices), ("x",))
    default = _DEFAULT[jax.default_backend()]
    sizes = tuple(map(int, options.sizes.split(","))) if options.sizes else default
    batch = (options.batch,) if options.batch else ()
    known = routines()
    n_by_1, n = f"{len(devices)} by 1", str(len(devices))
    print(f"{len(devices)} x {devices[0].device_kind}, {options.dtype}, milliseconds", end="")
    print(f", batch of {options.batch}\n" if batch else "\n")
    print(f"| routine | N | jax | 1 | {n_by_1} | {n} |\n|---|---|---|---|---|---|")
    for name in options.routines.split(",") if options.routines else known:
        jax_function, function = known[name]
        for order in sizes:
            a, b = system(batch, order, np.dtype(options.dtype))
            rows = "x" if order % len(devices) == 0 else None
            spec = PartitionSpec(*(None,) * len(batch), rows, None)
            on_one = jax.device_put((a, b), devices[0])
            on_all = jax.device_put(
                (a, b), (NamedSharding(mesh, spec), NamedSharding(mesh, PartitionSpec()))
            )
            calls = [
                call(jax_function, batch, on_one, None),
                call(function, batch, on_one, None),
                call(function, batch, on_all, 2**30),
                call(function, batch, on_all, 0),
            ]
            times = alternating(calls, options.seconds)
            print(
                f"| {name} | {order} | {' | '.join(f'{1e3 * t:.3g}' for t in times)} |", flush=True
            )


def call(function, batch, arrays, one_rank_up_to):
    """Return a compiled call without arguments."""
    import jax
    import jaxmg

    # JAX caches traces by function; the option is read while tracing.
    run = jax.jit(functools.partial(jax.vmap(function) if batch else function))
    with jaxmg.config.using(one_rank_up_to=one_rank_up_to):
        compiled = run.lower(*arrays).compile()
    return lambda: jax.block_until_ready(compiled(*arrays))


def alternating(calls, seconds: float):
    """Return the median time of each call."""
    for one in calls:
        one()
    samples = [[] for _ in calls]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(samples[0]) < 3:
        for one, times in zip(calls, samples, strict=True):
            start = time.perf_counter()
            one()
            times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in samples]


def system(batch, n: int, dtype):
    """Return positive definite matrices with well separated eigenvalues, and right-hand sides."""
    import numpy as np

    random = np.random.default_rng(n)

    def gaussian(*shape):
        real = random.standard_normal(shape)
        return real + 1j * random.standard_normal(shape) if dtype.kind == "c" else real

    x = gaussian(*batch, n, n)
    a = x @ x.conj().swapaxes(-1, -2) / n + np.eye(n)
    return a.astype(dtype), gaussian(*batch, n).astype(dtype)


if __name__ == "__main__":
    main()
