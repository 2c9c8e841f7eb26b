"""The measurements that are made in JAX. Each returns plain values; worker.py sends them on."""

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import systems
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

LEAST_SAMPLES, MOST_SAMPLES = 3, 7
MOST_SECONDS = 4.0  # of samples beyond the least number


def describe() -> dict:
    """Say what there is to measure with."""
    import jaxmg

    devices = jax.devices()
    return {
        "platform": devices[0].platform,
        "devices": len(devices),
        "kind": devices[0].device_kind,
        "jax": jax.__version__,
        "jaxmg": jaxmg.__version__,
    }


def gemm(dtype: str, devices: int) -> dict:
    """Measure the sustained rate of one GEMM on each device, all at once, in FLOP/s together."""
    on_cpu = jax.devices()[0].platform == "cpu"
    complex_type = np.issubdtype(dtype, np.complexfloating)
    n = 1024 if on_cpu else 8192 if complex_type else 16384
    mesh = _mesh(devices)
    sharding = NamedSharding(mesh, PartitionSpec("x", None, None))
    make = jax.jit(
        lambda seed: jax.random.normal(jax.random.key(seed), (devices, n, n), dtype),
        out_shardings=sharding,
    )
    # One matrix on each device: sharded over a batch of products, nothing is sent.
    product = jax.jit(
        jax.shard_map(
            lambda a, b: jnp.matmul(a[0], b[0], precision="highest")[None],
            mesh=mesh,
            in_specs=PartitionSpec("x", None, None),
            out_specs=PartitionSpec("x", None, None),
        )
    )
    a, b = make(0), make(1)
    product(a, b).block_until_ready()
    samples = _samples(lambda: product(a, b), enough=1.0)
    flops = devices * 2 * n**3 * (4 if complex_type else 1)
    return {"n": n, "flops_per_second": flops / statistics.median(samples), "samples": samples}


def potrs(n: int, dtype: str, nrhs: int, devices: int, tile: int | None) -> dict:
    """Measure jaxmg.potrs, called as its users do: in jit, not donated, b replicated."""
    import jaxmg

    mesh = _mesh(devices)
    rows = PartitionSpec("x", None)
    a = systems.make_matrix(n, dtype, NamedSharding(mesh, rows))
    b = systems.make_right_hand_sides(n, nrhs, dtype, NamedSharding(mesh, PartitionSpec()))

    @jax.jit
    def solve(a, b):
        return jaxmg.potrs(a, b, tile, mesh, (rows,), return_status=True)

    used = list(mesh.devices.flat)
    before = _peak_bytes(used)
    first, samples, (x, status) = _timed(lambda: solve(a, b))
    after = _peak_bytes(used)
    plan = jaxmg.plan("potrs", (n, n), dtype, mesh, nrhs=nrhs, tile=tile)
    if status != 0:
        raise RuntimeError(f"the status is {int(status)}")
    return {
        "samples": samples,
        "first_call": first,
        "residual": systems.relative_residual(a, x, b),
        # A peak that has not grown is that of an earlier job.
        "peak_bytes": after if after is not None and after > before else None,
        # The caller's own a and b, and what the call needs.
        "planned_bytes": plan.shard_bytes + n * nrhs * np.dtype(dtype).itemsize + plan.total_bytes,
        "note": f"tile {plan.tile}",
        "details": {"tile": plan.tile, "planned_seconds": plan.seconds},
    }


def cho_solve(n: int, dtype: str, nrhs: int) -> dict:
    """Measure jax.scipy.linalg.cho_solve(cho_factor) on one device."""
    import jax.scipy.linalg as jsl

    device = jax.devices()[0]
    a = systems.make_matrix(n, dtype, SingleDeviceSharding(device))
    b = systems.make_right_hand_sides(n, nrhs, dtype, SingleDeviceSharding(device))
    solve = jax.jit(lambda a, b: jsl.cho_solve(jsl.cho_factor(a), b))
    before = _peak_bytes([device])
    first, samples, x = _timed(lambda: solve(a, b))
    after = _peak_bytes([device])
    if not bool(jnp.isfinite(x).all()):
        raise RuntimeError("the result is not finite")
    return {
        "samples": samples,
        "first_call": first,
        "residual": systems.relative_residual(a, x, b),
        "peak_bytes": after if after is not None and after > before else None,
    }


def overhead(devices: int, n: int) -> dict:
    """Measure what a call costs beside its arithmetic, in seconds, for a small matrix.

    `empty` is a jitted program over the devices that does nothing; `dealing` is jaxmg.cyclic_1d,
    which has the roll call, the rendezvous and the redistribution of a solve; `solve` a whole one.
    """
    import jaxmg

    mesh = _mesh(devices)
    rows = PartitionSpec("x", None)
    a = systems.make_matrix(n, "float64", NamedSharding(mesh, rows))
    b = systems.make_right_hand_sides(n, 1, "float64", NamedSharding(mesh, PartitionSpec()))
    tile = jaxmg.plan("potrs", (n, n), "float64", mesh).tile
    calls = {
        "empty": jax.jit(lambda a, b: b + 1),
        "dealing": jax.jit(lambda a, b: jaxmg.cyclic_1d(a, tile, mesh, rows, pad=False)),
        "solve": jax.jit(lambda a, b: jaxmg.potrs(a, b, None, mesh, (rows,))),
    }
    result = {}
    for name, call in calls.items():
        call(a, b).block_until_ready()
        call(a, b).block_until_ready()
        result[name] = statistics.median(_samples(lambda call=call: call(a, b), most=50, enough=1))
    return result


def _mesh(devices: int) -> Mesh:
    return Mesh(np.array(jax.devices()[:devices]), ("x",))


def _timed(call):
    """Return (seconds of the first call, seconds of the later ones, the last result)."""
    began = time.perf_counter()
    result = jax.block_until_ready(call())
    first = time.perf_counter() - began
    samples = _samples(call)
    return first, samples, result


def _samples(call, most: int = MOST_SAMPLES, enough: float = MOST_SECONDS) -> list[float]:
    samples = []
    while len(samples) < most and (len(samples) < LEAST_SAMPLES or sum(samples) < enough):
        began = time.perf_counter()
        jax.block_until_ready(call())
        samples.append(time.perf_counter() - began)
    return samples


def _peak_bytes(devices) -> int | None:
    peaks = [(device.memory_stats() or {}).get("peak_bytes_in_use") for device in devices]
    return None if None in peaks else max(peaks)
