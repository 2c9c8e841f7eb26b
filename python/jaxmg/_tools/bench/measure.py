"""Measurements in JAX. Each function returns plain values, which benchmarks/worker.py sends on."""

import statistics
import time

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

import jaxmg
from jaxmg._tools.bench import systems
from jaxmg._tools.bench.routines import TALL_COLUMNS

LEAST_SAMPLES, MOST_SAMPLES = 3, 7
MOST_SECONDS = 4.0  # of samples beyond the least number


def describe() -> dict:
    """Return the devices and versions in use."""
    devices = jax.devices()
    return {
        "platform": devices[0].platform,
        "devices": len(devices),
        "kind": devices[0].device_kind,
        "jax": jax.__version__,
        "jaxmg": jaxmg.__version__,
    }


def gemm(dtype: str, devices: int) -> dict:
    """Measure the sustained rate of simultaneous GEMMs, one per device, in total FLOP/s."""
    on_cpu = jax.devices()[0].platform == "cpu"
    complex_type = np.issubdtype(dtype, np.complexfloating)
    n = 1024 if on_cpu else 8192 if complex_type else 16384
    mesh = _mesh(devices)
    sharding = NamedSharding(mesh, PartitionSpec("x", None, None))
    make = jax.jit(
        lambda seed: jax.random.normal(jax.random.key(seed), (devices, n, n), dtype),
        out_shardings=sharding,
    )
    # One matrix on each device: sharded over a batch of products, without communication.
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


def overhead(devices: int, n: int) -> dict:
    """Measure the overhead of a call besides its arithmetic, in seconds, for a small matrix.

    `empty` is a jitted program over the devices that does nothing; `dealing` is jaxmg.cyclic_1d,
    with the roll call, the rendezvous and the redistribution of a solve; `solve` a whole solve.
    """
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


# ---- jaxmg, called as by users: in jit, not donated, rows sharded, b replicated ------------------


def potrs(n: int, dtype: str, nrhs: int, devices: int, tile: int | None) -> dict:
    """Measure jaxmg.potrs."""
    mesh, a = _in_rows(n, dtype, devices)
    b = systems.make_right_hand_sides(n, nrhs, dtype, NamedSharding(mesh, PartitionSpec()))

    @jax.jit
    def solve(a, b):
        return jaxmg.potrs(a, b, tile, mesh, (PartitionSpec("x", None),), return_status=True)

    outcome, (x, status) = _measured(lambda: solve(a, b), mesh.devices.flat)
    if status != 0:
        raise RuntimeError(f"the status is {int(status)}")
    outcome["residual"] = systems.relative_residual(a, x, b)
    return _with_plan(outcome, "potrs", mesh, tile, a, b, nrhs=nrhs)


def potri(n: int, dtype: str, nrhs: int, devices: int, tile: int | None) -> dict:
    """Measure jaxmg.linalg.inv."""
    mesh, a = _in_rows(n, dtype, devices)
    invert = jax.jit(lambda a: jaxmg.linalg.inv(a, assume_a="pos", tile=tile))
    outcome, x = _measured(lambda: invert(a), mesh.devices.flat)
    outcome["residual"] = _residual_of_inverse(a, x)
    return _with_plan(outcome, "potri", mesh, tile, a)


def cho_solve(n: int, dtype: str, nrhs: int, devices: int, tile: int | None) -> dict:
    """Measure jaxmg.linalg.cho_solve with a factor that is made once."""
    mesh, a = _in_rows(n, dtype, devices)
    b = systems.make_right_hand_sides(n, nrhs, dtype, NamedSharding(mesh, PartitionSpec()))
    factor = jax.block_until_ready(jaxmg.linalg.cho_factor(a, tile=tile))
    solve = jax.jit(jaxmg.linalg.cho_solve)
    outcome, x = _measured(lambda: solve(factor, b), mesh.devices.flat)
    outcome["residual"] = systems.relative_residual(a, x, b)
    # The plan counts the factor as its matrix, and the factor has the tile size.
    return _with_plan(outcome, "cho_solve", mesh, factor.tile or tile, b, nrhs=nrhs)


def gesv(n: int, dtype: str, nrhs: int, devices: int, tile: int | None) -> dict:
    """Measure jaxmg.linalg.solve of a general matrix."""
    mesh, a = _in_rows(n, dtype, devices, systems.noise)
    b = systems.make_right_hand_sides(n, nrhs, dtype, NamedSharding(mesh, PartitionSpec()))
    solve = jax.jit(lambda a, b: jaxmg.linalg.solve(a, b, tile=tile, return_info=True))
    outcome, (x, info) = _measured(lambda: solve(a, b), mesh.devices.flat)
    if info != 0:
        raise RuntimeError(f"pivot {int(info)} is zero")
    outcome["residual"] = systems.relative_residual(a, x, b, systems.norm_of_noise)
    return _with_plan(outcome, "gesv", mesh, tile, a, b, nrhs=nrhs)


def lu_solve(n: int, dtype: str, nrhs: int, devices: int, tile: int | None) -> dict:
    """Measure jaxmg.linalg.lu_solve with a factor that is made once."""
    mesh, a = _in_rows(n, dtype, devices, systems.noise)
    b = systems.make_right_hand_sides(n, nrhs, dtype, NamedSharding(mesh, PartitionSpec()))
    factor = jax.block_until_ready(jaxmg.linalg.lu_factor(a, tile=tile))
    solve = jax.jit(jaxmg.linalg.lu_solve)
    outcome, x = _measured(lambda: solve(factor, b), mesh.devices.flat)
    outcome["residual"] = systems.relative_residual(a, x, b, systems.norm_of_noise)
    # The plan counts the factor as its matrix and has the tile size of the factor.
    return _with_plan(outcome, "getrs", mesh, factor.tile or tile, b, nrhs=nrhs)


def geqrf(n: int, dtype: str, nrhs: int, devices: int, tile: int | None) -> dict:
    """Measure jaxmg.linalg.qr without Q."""
    mesh, a = _in_rows(n, dtype, devices, systems.noise)
    factor = jax.jit(lambda a: jaxmg.linalg.qr(a, mode="r", tile=tile))
    outcome, r = _measured(lambda: factor(a), mesh.devices.flat)
    outcome["residual"] = systems.norm_difference(a, r, _probes(a))
    return _with_plan(outcome, "geqrf", mesh, tile, a)


def orgqr(n: int, dtype: str, nrhs: int, devices: int, tile: int | None) -> dict:
    """Measure jaxmg.linalg.qr."""
    mesh, a = _in_rows(n, dtype, devices, systems.noise)
    factor = jax.jit(lambda a: jaxmg.linalg.qr(a, tile=tile))
    outcome, (q, r) = _measured(lambda: factor(a), mesh.devices.flat)
    outcome |= _errors_of_factors(a, q, r)
    return _with_plan(outcome, "orgqr", mesh, tile, a)


def gels(n: int, dtype: str, nrhs: int, devices: int, tile: int | None) -> dict:
    """Measure jaxmg.linalg.lstsq by QR."""
    mesh, a = _in_rows(n, dtype, devices, systems.noise)
    b = systems.make_right_hand_sides(n, nrhs, dtype, NamedSharding(mesh, PartitionSpec()))
    solve = jax.jit(lambda a, b: jaxmg.linalg.lstsq(a, b, method="qr", tile=tile)[0])
    outcome, x = _measured(lambda: solve(a, b), mesh.devices.flat)
    outcome["residual"] = systems.relative_residual(a, x, b, systems.norm_of_noise)
    return _with_plan(outcome, "gels", mesh, tile, a, b, nrhs=nrhs)


def gels_tall(n: int, dtype: str, nrhs: int, devices: int, tile: int | None) -> dict:
    """Measure jaxmg.linalg.lstsq by QR for n rows and few columns, beside reading the matrix."""
    mesh = _mesh(devices)
    a, b = _tall_system(n, dtype, nrhs, NamedSharding(mesh, PartitionSpec("x", None)))
    solve = jax.jit(lambda a, b: jaxmg.linalg.lstsq(a, b, method="qr", tile=tile)[0])
    outcome, x = _measured(lambda: solve(a, b), mesh.devices.flat)
    outcome["residual"] = systems.relative_residual(a, x, b, systems.norm_of_noise)
    read = jax.jit(lambda a: jnp.max(a.real))
    _, reads, _ = _timed(lambda: read(a))
    outcome = _with_plan(outcome, "gels", mesh, tile, a, b, nrhs=nrhs)
    times = statistics.median(outcome["samples"]) / statistics.median(reads)
    outcome["details"]["seconds_to_read"] = statistics.median(reads)
    outcome["note"] += f", {times:.1f} times as long as reading A"
    return outcome


def syevd(n: int, dtype: str, nrhs: int, devices: int, tile: int | None) -> dict:
    """Measure jaxmg.linalg.eigh."""
    mesh, a = _in_rows(n, dtype, devices, systems.chirp)
    solve = jax.jit(lambda a: jaxmg.linalg.eigh(a, tile=tile))
    outcome, (values, vectors) = _measured(lambda: solve(a), mesh.devices.flat)
    outcome |= _errors_of_vectors(a, values, vectors)
    return _with_plan(outcome, "syevd", mesh, tile, a)


def syevd_values(n: int, dtype: str, nrhs: int, devices: int, tile: int | None) -> dict:
    """Measure jaxmg.linalg.eigvalsh."""
    mesh, a = _in_rows(n, dtype, devices, systems.wrapped_chirp(n))
    solve = jax.jit(lambda a: jaxmg.linalg.eigvalsh(a, tile=tile))
    outcome, values = _measured(lambda: solve(a), mesh.devices.flat)
    outcome["residual"] = systems.eigenvalue_error(values)
    return _with_plan(outcome, "syevd", mesh, tile, a, vectors=0)


def gesvd(n: int, dtype: str, nrhs: int, devices: int, tile: int | None) -> dict:
    """Measure jaxmg.linalg.svd."""
    mesh, a = _in_rows(n, dtype, devices, systems.noise)
    a = systems.graded(a)
    solve = jax.jit(lambda a: jaxmg.linalg.svd(a, tile=tile))
    outcome, (u, s, vh) = _measured(lambda: solve(a), mesh.devices.flat)
    outcome |= _errors_of_svd(a, u, s, vh)
    return _with_plan(outcome, "gesvd", mesh, tile, a)


def svdvals(n: int, dtype: str, nrhs: int, devices: int, tile: int | None) -> dict:
    """Measure jaxmg.linalg.svdvals."""
    mesh, a = _in_rows(n, dtype, devices, systems.noise)
    a = systems.graded(a)
    solve = jax.jit(lambda a: jaxmg.linalg.svdvals(a, tile=tile))
    outcome, s = _measured(lambda: solve(a), mesh.devices.flat)
    outcome["residual"] = systems.error_of_norm(a, s)
    return _with_plan(outcome, "gesvd", mesh, tile, a, vectors=0)


def polar(n: int, dtype: str, nrhs: int, devices: int, tile: int | None) -> dict:
    """Measure jaxmg.linalg.polar."""
    mesh, a = _in_rows(n, dtype, devices, systems.noise)
    a = systems.graded(a)
    solve = jax.jit(lambda a: jaxmg.linalg.polar(a, tile=tile))
    outcome, (u, h) = _measured(lambda: solve(a), mesh.devices.flat)
    outcome |= _errors_of_svd(a, u, jnp.ones(n, h.real.dtype), h)
    return _with_plan(outcome, "polar", mesh, tile, a)


# ---- JAX's counterparts, on one device -----------------------------------------------------------


def jax_potrs(n: int, dtype: str, nrhs: int) -> dict:
    """Measure jax.scipy.linalg.cho_solve(cho_factor)."""
    solve = jax.jit(lambda a, b: jsl.cho_solve(jsl.cho_factor(a), b))
    device, a = _on_one_device(n, dtype)
    b = systems.make_right_hand_sides(n, nrhs, dtype, a.sharding)
    outcome, x = _measured(lambda: solve(a, b), [device])
    return outcome | {"residual": systems.relative_residual(a, x, b)}


def jax_potri(n: int, dtype: str, nrhs: int) -> dict:
    """Measure jax.numpy.linalg.inv."""
    invert = jax.jit(jnp.linalg.inv)
    device, a = _on_one_device(n, dtype)
    outcome, x = _measured(lambda: invert(a), [device])
    return outcome | {"residual": _residual_of_inverse(a, x)}


def jax_gesv(n: int, dtype: str, nrhs: int) -> dict:
    """Measure jax.numpy.linalg.solve."""
    solve = jax.jit(jnp.linalg.solve)
    device, a = _on_one_device(n, dtype, systems.noise)
    b = systems.make_right_hand_sides(n, nrhs, dtype, a.sharding)
    outcome, x = _measured(lambda: solve(a, b), [device])
    return outcome | {"residual": systems.relative_residual(a, x, b, systems.norm_of_noise)}


def jax_lu_solve(n: int, dtype: str, nrhs: int) -> dict:
    """Measure jax.scipy.linalg.lu_solve with factors that are made once."""
    solve = jax.jit(jsl.lu_solve)
    device, a = _on_one_device(n, dtype, systems.noise)
    b = systems.make_right_hand_sides(n, nrhs, dtype, a.sharding)
    factors = jax.block_until_ready(jax.jit(jsl.lu_factor)(a))
    outcome, x = _measured(lambda: solve(factors, b), [device])
    return outcome | {"residual": systems.relative_residual(a, x, b, systems.norm_of_noise)}


def jax_geqrf(n: int, dtype: str, nrhs: int) -> dict:
    """Measure jax.numpy.linalg.qr without Q."""
    factor = jax.jit(lambda a: jnp.linalg.qr(a, mode="r"))
    device, a = _on_one_device(n, dtype, systems.noise)
    outcome, r = _measured(lambda: factor(a), [device])
    return outcome | {"residual": systems.norm_difference(a, r, _probes(a))}


def jax_orgqr(n: int, dtype: str, nrhs: int) -> dict:
    """Measure jax.numpy.linalg.qr."""
    factor = jax.jit(jnp.linalg.qr)
    device, a = _on_one_device(n, dtype, systems.noise)
    outcome, (q, r) = _measured(lambda: factor(a), [device])
    return outcome | _errors_of_factors(a, q, r)


def jax_gels(n: int, dtype: str, nrhs: int) -> dict:
    """Measure jax.numpy.linalg.lstsq."""
    solve = jax.jit(lambda a, b: jnp.linalg.lstsq(a, b)[0])
    device, a = _on_one_device(n, dtype, systems.noise)
    b = systems.make_right_hand_sides(n, nrhs, dtype, a.sharding)
    outcome, x = _measured(lambda: solve(a, b), [device])
    return outcome | {"residual": systems.relative_residual(a, x, b, systems.norm_of_noise)}


def jax_gels_tall(n: int, dtype: str, nrhs: int) -> dict:
    """Measure jax.numpy.linalg.lstsq for n rows and few columns."""
    solve = jax.jit(lambda a, b: jnp.linalg.lstsq(a, b)[0])
    device = jax.devices()[0]
    a, b = _tall_system(n, dtype, nrhs, SingleDeviceSharding(device))
    outcome, x = _measured(lambda: solve(a, b), [device])
    return outcome | {"residual": systems.relative_residual(a, x, b, systems.norm_of_noise)}


def jax_cho_solve(n: int, dtype: str, nrhs: int) -> dict:
    """Measure jax.scipy.linalg.cho_solve with a factor that is made once."""
    solve = jax.jit(lambda c, b: jsl.cho_solve((c, False), b))
    device, a = _on_one_device(n, dtype)
    b = systems.make_right_hand_sides(n, nrhs, dtype, a.sharding)
    factor = jax.block_until_ready(jax.jit(lambda a: jsl.cho_factor(a)[0])(a))
    outcome, x = _measured(lambda: solve(factor, b), [device])
    return outcome | {"residual": systems.relative_residual(a, x, b)}


def jax_syevd(n: int, dtype: str, nrhs: int) -> dict:
    """Measure jax.numpy.linalg.eigh."""
    solve = jax.jit(jnp.linalg.eigh)
    device, a = _on_one_device(n, dtype, systems.chirp)
    outcome, (values, vectors) = _measured(lambda: solve(a), [device])
    return outcome | _errors_of_vectors(a, values, vectors)


def jax_syevd_values(n: int, dtype: str, nrhs: int) -> dict:
    """Measure jax.numpy.linalg.eigvalsh."""
    solve = jax.jit(jnp.linalg.eigvalsh)
    device, a = _on_one_device(n, dtype, systems.wrapped_chirp(n))
    outcome, values = _measured(lambda: solve(a), [device])
    return outcome | {"residual": systems.eigenvalue_error(values)}


def jax_gesvd(n: int, dtype: str, nrhs: int) -> dict:
    """Measure jax.numpy.linalg.svd."""
    solve = jax.jit(lambda a: jnp.linalg.svd(a, full_matrices=False))
    device, a = _on_one_device(n, dtype, systems.noise)
    a = systems.graded(a)
    outcome, (u, s, vh) = _measured(lambda: solve(a), [device])
    return outcome | _errors_of_svd(a, u, s, vh)


def jax_svdvals(n: int, dtype: str, nrhs: int) -> dict:
    """Measure jax.numpy.linalg.svdvals."""
    solve = jax.jit(jnp.linalg.svdvals)
    device, a = _on_one_device(n, dtype, systems.noise)
    a = systems.graded(a)
    outcome, s = _measured(lambda: solve(a), [device])
    return outcome | {"residual": systems.error_of_norm(a, s)}


def jax_polar(n: int, dtype: str, nrhs: int) -> dict:
    """Measure jax.scipy.linalg.polar by its SVD: its qdwh is not backward stable."""
    device, a = _on_one_device(n, dtype, systems.noise)
    a = systems.graded(a)
    solve = jax.jit(lambda a: jsl.polar(a, method="svd"))
    outcome, (u, h) = _measured(lambda: solve(a), [device])
    return outcome | _errors_of_svd(a, u, jnp.ones(n, h.real.dtype), h)


# ---- shared code ---------------------------------------------------------------------------------


def _mesh(devices: int) -> Mesh:
    return Mesh(np.array(jax.devices()[:devices]), ("x",))


def _in_rows(n: int, dtype: str, devices: int, diagonals=systems.kernel):
    """Return a mesh and the test matrix on it."""
    mesh = _mesh(devices)
    sharding = NamedSharding(mesh, PartitionSpec("x", None))
    return mesh, systems.make_matrix(n, dtype, sharding, diagonals)


def _tall_system(n: int, dtype: str, nrhs: int, sharding):
    """Return n rows of noise, and right-hand sides in its range."""
    a = systems.make_matrix(n, dtype, sharding, systems.noise, TALL_COLUMNS)
    x = jax.random.normal(jax.random.key(0), (TALL_COLUMNS, nrhs), dtype)
    return a, jax.jit(systems.product, out_shardings=sharding)(a, x)


def _on_one_device(n: int, dtype: str, diagonals=systems.kernel):
    """Return a device and the test matrix on it."""
    device = jax.devices()[0]
    return device, systems.make_matrix(n, dtype, SingleDeviceSharding(device), diagonals)


def _probes(a):
    """Return a few random columns beside a matrix."""
    sharding = a.sharding
    if isinstance(sharding, NamedSharding):
        sharding = NamedSharding(sharding.mesh, PartitionSpec())
    return systems.make_right_hand_sides(len(a), systems.PROBES, a.dtype, sharding)


def _residual_of_inverse(a, x) -> float:
    """Return the residual of solutions by the inverse, which needs no N x N products."""
    b = _probes(a)
    return systems.relative_residual(a, systems.product(x, b), b)


def _errors_of_factors(a, q, r) -> dict:
    residual, lost = systems.factor_errors(a, q, r, _probes(a))
    return {"residual": residual, "details": {"orthogonality": lost}}


def _errors_of_vectors(a, values, vectors) -> dict:
    residual, lost = systems.eigen_errors(a, values, vectors, _probes(a))
    return {"residual": residual, "details": {"orthogonality": lost}}


def _errors_of_svd(a, u, s, vh) -> dict:
    residual, lost = systems.svd_errors(a, u, s, vh, _probes(a))
    return {"residual": residual, "details": {"orthogonality": lost}}


def _measured(call, devices) -> tuple[dict, object]:
    """Return the measurements of a call, and its result."""
    devices = list(devices)
    before = _peak_bytes(devices)
    first, samples, result = _timed(call)
    after = _peak_bytes(devices)
    # A peak that has not grown belongs to an earlier job.
    peak = after if after is not None and after > before else None
    return {"samples": samples, "first_call": first, "peak_bytes": peak}, result


def _with_plan(outcome: dict, routine: str, mesh: Mesh, tile: int | None, *own, **wanted) -> dict:
    """Add the memory that jaxmg's planner reports, besides the caller's `own` arrays."""
    n, dtype = own[0].shape[0], own[0].dtype
    shape = own[0].shape if routine == "gels" else (n, n)
    plan = jaxmg.plan(routine, shape, dtype, mesh, tile=tile, **wanted)
    details = {"tile": plan.tile, "planned_seconds": plan.seconds}
    own_bytes = sum(array.addressable_shards[0].data.nbytes for array in own)
    return outcome | {
        "planned_bytes": own_bytes + plan.total_bytes,
        "note": f"tile {plan.tile}",
        "details": outcome.get("details", {}) | details,
    }


def _timed(call):
    """Return (seconds of the first call, seconds of the later ones, the last result)."""
    kept = []

    def again():
        kept.clear()  # a result may be as large as the matrix
        kept.append(call())
        return kept

    began = time.perf_counter()
    jax.block_until_ready(again())
    first = time.perf_counter() - began
    samples = _samples(again)
    return first, samples, kept[0]


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
