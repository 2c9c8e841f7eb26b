"""Worker process of a multi-process program: multi_process_worker.py TASK PORT PROCESSES PROCESS.

test_multi_process.py starts as many workers as a task needs. A process that succeeds prints "fine"
as its last line.
"""

import os
import sys
import time
import traceback

import jax
import jax.numpy as jnp
import numpy as np
from jax.errors import JaxRuntimeError
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxmg import cyclic_1d, linalg, potri, potrs, syevd
from jaxmg._native import cuda
from jaxmg.compat.layout import cyclic_places
from systems import ROWS, assert_solves, gaussian, positive_definite

jax.config.update("jax_enable_x64", True)


def solve(a, b, **options):
    return linalg.solve(a, b, assume_a="pos", **options)


def on_mesh(array, mesh, *spec):
    """Create this process's shards of an array known to all; replicated if uneven."""
    sharding = NamedSharding(mesh, P(*spec))
    try:
        sharding.shard_shape(array.shape)
    except ValueError:
        sharding = NamedSharding(mesh, P())
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def all_devices():
    return Mesh(np.array(jax.devices()), ("x",))


def smooth_kernel(n, dtype, mesh):
    """A kernel matrix, created in row shards."""

    def make():
        i = jnp.arange(n)
        distance = (i[:, None] - i[None, :]).astype(jnp.float64) / 50
        return (jnp.exp(-(distance**2)) + jnp.where(distance == 0, 1e-2, 0)).astype(dtype)

    return jax.jit(make, out_shardings=NamedSharding(mesh, ROWS))()


# --- every platform ---------------------------------------------------------------------------


def assert_pieces(result, expected):
    """Check the shards of an array on this process."""
    for shard in result.addressable_shards:
        np.testing.assert_allclose(shard.data, expected[shard.index], atol=1e-9)


def takes_part(mesh):
    return jax.process_index() in {device.process_index for device in mesh.devices.flat}


def every_routine():
    """All families of routines, in one program and separately."""
    mesh = all_devices()
    n = 8 * mesh.size
    matrix, rhs = positive_definite(n), gaussian((n, 70))
    operands = on_mesh(matrix, mesh, "x", None), on_mesh(rhs, mesh)

    def factors(a, b):
        factor = linalg.cho_factor(a)
        return {
            "potrs": potrs(a, b, 3, mesh, ROWS),
            "cho_solve": linalg.cho_solve(factor, b),
            "general": linalg.solve(2 * jnp.triu(a) - a, b),
            "lu_solve": linalg.lu_factor(2 * jnp.triu(a) - a).solve(b, trans=1),
            "triangular": linalg.solve_triangular(a, b),
            "lower": factor.lower(),
            "logdet": linalg.logdet(factor),
            "inv": linalg.inv(a, assume_a="pos"),
            "potri": potri(a, 5, mesh, ROWS),
            "eigvalsh": linalg.eigvalsh(a),
            "cyclic": cyclic_1d(a, 2, mesh, ROWS),
        }

    def eigenvectors(a):
        return [(v * w) @ v.conj().T for w, v in (linalg.eigh(a), syevd(a, 3, mesh, ROWS))]

    x, inverse = np.linalg.solve(matrix, rhs), np.linalg.inv(matrix)
    general = 2 * np.triu(matrix) - matrix
    dealt = np.empty_like(matrix)
    dealt[cyclic_places(n // mesh.size, 2, mesh.size)] = matrix
    expected = {
        "potrs": x,
        "cho_solve": x,
        "general": np.linalg.solve(general, rhs),
        "lu_solve": np.linalg.solve(general.T, rhs),
        "triangular": np.linalg.solve(np.triu(matrix), rhs),
        "lower": np.linalg.cholesky(matrix),
        "logdet": np.linalg.slogdet(matrix)[1],
        "inv": inverse,
        "potri": inverse,
        "eigvalsh": np.linalg.eigvalsh(matrix),
        "cyclic": dealt,
    }
    for name, result in jax.jit(factors)(*operands).items():
        assert_pieces(result, expected[name])
    for result in jax.jit(eigenvectors)(operands[0]):
        assert_pieces(result, matrix)
    assert_pieces(solve(*operands), x)
    assert_pieces(potri(operands[0], 5, mesh, ROWS), inverse)
    assert_pieces(linalg.eigvalsh(operands[0]), expected["eigvalsh"])


def meshes():
    """Overlapping meshes, alternately: reordered devices, a subset, the devices of one process."""
    devices = jax.devices()
    a, b = positive_definite(24), gaussian((24, 2))
    rebuilt = jax.jit(lambda a: (lambda w, v: (v * w) @ v.conj().T)(*linalg.eigh(a)))
    inverse = jax.jit(lambda a: linalg.inv(a, assume_a="pos"))
    orders = devices[::-1], devices[1:-1], devices[::2], jax.local_devices(), devices
    parts = [Mesh(np.array(order), ("x",)) for order in orders]
    for mesh in [*parts, *parts]:
        if not takes_part(mesh):
            continue
        here = on_mesh(a, mesh, "x", None)
        assert_pieces(jax.jit(solve)(here, on_mesh(b, mesh)), np.linalg.solve(a, b))
        assert_pieces(inverse(here), np.linalg.inv(a))
        assert_pieces(rebuilt(here), a)


def grid():
    """Rows over one axis of a 2-D mesh, then over the other: replicas work side by side."""
    mesh = Mesh(np.array(jax.devices()).reshape(2, -1), ("x", "y"))
    a, b = positive_definite(24), gaussian((24, 2))
    for axis in "xy":
        operands = on_mesh(a, mesh, axis, None), on_mesh(b, mesh)
        run = jax.jit(lambda a, b: potrs(a, b, 3, mesh, P(axis, None)))  # noqa: B023
        assert_pieces(run(*operands), np.linalg.solve(a, b))


def calls_of_one_process():
    """Calls of some processes do not involve the others."""
    mesh = Mesh(np.array(jax.local_devices()), ("x",))
    for seed in range(jax.process_index()):
        a, b = positive_definite(24, seed=seed), gaussian((24, 2))
        assert_solves(a, jax.jit(solve)(on_mesh(a, mesh, "x", None), on_mesh(b, mesh)), b)


def killed():
    """A process ends during a solve; the others name its ranks before the timeout."""
    mesh = all_devices()
    limit = float(os.environ["JAXMG_TIMEOUT_SECONDS"])
    operands = on_mesh(positive_definite(48), mesh, "x", None), on_mesh(gaussian((48, 2)), mesh)
    last = mesh.size - 1
    os.environ["JAXMG_INJECT_FAULT"] = f"{last}:9:kill"
    began = time.monotonic()
    message = error_of(lambda: jax.jit(lambda a, b: solve(a, b, tile=2))(*operands))
    print(f"after {time.monotonic() - began:.1f} s: {message}", flush=True)
    assert time.monotonic() - began < limit
    assert f"rank {last} has left the call: its process has ended" in message
    print("fine", flush=True)
    os._exit(0)  # A regular exit would wait for the process that has ended.


# --- GPU --------------------------------------------------------------------------------------


def solves():
    mesh = all_devices()
    for dtype, n, nrhs in (
        ("float64", 3, 1),
        ("float64", 577, 200),
        ("complex128", 96, 5),
        ("float32", 1001, 5),
    ):
        a, b = positive_definite(n, dtype), gaussian((n, nrhs), dtype)
        operands = on_mesh(a, mesh, "x", None), on_mesh(b, mesh)
        for _ in range(3):  # Only the first call keeps the ranks in step.
            assert_solves(a, solve(*operands), b)
        print(f"{dtype} n={n} nrhs={nrhs}", flush=True)


def growing_solves():
    """Solves in more and more memory, which the processes must map."""
    mesh = all_devices()
    for n in (96, 1000, 96, 2000):
        a, b = positive_definite(n), gaussian((n, 2))
        x = jax.jit(solve)(on_mesh(a, mesh, "x", None), on_mesh(b, mesh))
        assert_solves(a, x, b)
        print(f"n = {n}", flush=True)


def programs():
    """Failure, two solves in one program, a loop, and devices in another order."""
    mesh = all_devices()
    a, b = positive_definite(48), gaussian((48, 2))
    good, bad, rhs = on_mesh(a, mesh, "x", None), on_mesh(-a, mesh, "x", None), on_mesh(b, mesh)

    @jax.jit
    def two(bad, good, b):
        return solve(bad, b, return_info=True), solve(good, b, return_info=True)

    for _ in range(3):
        failed, fine = two(bad, good, rhs)
        assert failed[1] == 1 and np.isnan(failed[0]).all()
        assert fine[1] == 0
        assert_solves(a, fine[0], b)

    many = on_mesh(gaussian((48, 200)), mesh)
    x, info = solve(bad, many, return_info=True)
    assert info == 1 and np.isnan(x).all()

    loop = jax.jit(lambda a, b: jax.lax.fori_loop(0, 4, lambda _, x: solve(a, x), b))
    expected = b
    for _ in range(4):
        expected = np.linalg.solve(a, expected)
    np.testing.assert_allclose(loop(good, rhs), expected, rtol=1e-9)

    backwards = Mesh(np.array(jax.devices()[::-1]), ("x",))
    assert_solves(a, solve(on_mesh(a, backwards, "x", None), on_mesh(b, backwards)), b)
    assert_solves(a, solve(good, rhs), b)


def exchange():
    """The processes have used the expected transport."""
    how = cuda.exchange_between_processes()
    print(how, flush=True)
    assert os.environ["JAXMG_TEST_EXCHANGE"] in how, how


def fault():
    """One rank fails; all return an error before the timeout, and the next call works."""
    mesh = all_devices()
    limit = float(os.environ["JAXMG_TIMEOUT_SECONDS"])
    a, b = positive_definite(48), gaussian((48, 2))
    operands = on_mesh(a, mesh, "x", None), on_mesh(b, mesh)
    run = jax.jit(lambda a, b: solve(a, b, tile=2))
    assert_solves(a, run(*operands), b)
    for exchange in (1, 9):
        os.environ["JAXMG_INJECT_FAULT"] = f"{jax.process_count() - 1}:{exchange}"
        began = time.monotonic()
        message = error_of(lambda: run(*operands))
        print(f"after {time.monotonic() - began:.1f} s: {message}", flush=True)
        assert time.monotonic() - began < limit + 10
        del os.environ["JAXMG_INJECT_FAULT"]
        assert_solves(a, run(*operands), b)


def error_of(call):
    try:
        jax.block_until_ready(call())
    except JaxRuntimeError as error:
        return str(error)
    raise AssertionError("the call returned no error")


def timings():
    mesh = all_devices()
    for n in (16384, 32768):
        a, b = smooth_kernel(n, "float64", mesh), on_mesh(np.ones((n, 1)), mesh)
        run = jax.jit(solve)
        x = jax.block_until_ready(run(a, b))
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            jax.block_until_ready(run(a, b))
            seconds.append(time.perf_counter() - began)
        # The row sums of A are at most 90.
        error = jnp.linalg.norm(a @ x - b) / (90 * jnp.linalg.norm(x))
        if jax.process_index() == 0:
            print(
                f"TIMING {jax.process_count()} processes, n = {n}, float64: median "
                f"{np.median(seconds):.4f} s, least {min(seconds):.4f} s, "
                f"{n**3 / 3 / np.median(seconds) / 1e12:.1f} TFLOP/s, residual {error:.1e}",
                flush=True,
            )
        assert error < 1e-14 * n
        del a, b, x


TASKS = {
    "cpu": (every_routine, meshes, grid, calls_of_one_process, programs, fault),
    "gpu": (solves, programs, every_routine, meshes, calls_of_one_process, exchange),
    "some": (programs, exchange),
    "quick": (growing_solves, exchange),
    "grid": (every_routine, meshes, grid, calls_of_one_process, exchange),
    "fault": (fault,),
    "killed": (killed,),
    "timings": (timings,),
}


def main(task, port, processes, process):
    local = {}
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    else:
        each, gpus = (int(os.environ[name]) for name in ("JAXMG_TEST_GPUS_EACH", "JAXMG_TEST_GPUS"))
        local = {"local_device_ids": [(each * int(process) + i) % gpus for i in range(each)]}
    jax.distributed.initialize(f"localhost:{port}", int(processes), int(process), **local)
    try:
        for part in TASKS[task]:
            part()
            print(f"{part.__name__} is done", flush=True)
        print("fine", flush=True)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # A regular exit would wait for the others, which may wait for this process.


if __name__ == "__main__":
    main(*sys.argv[1:])
