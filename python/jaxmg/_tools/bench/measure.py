"""Measurements in JAX. Each function returns plain values, which benchmarks/worker.py sends on."""

import statistics
import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

import jaxmg
from jaxmg import linalg
from jaxmg._tools.bench import systems
from jaxmg._tools.bench.routines import TALL_COLUMNS

LEAST_SAMPLES, MOST_SAMPLES = 3, 7
MOST_SECONDS = 4.0  # of samples beyond the least number


@dataclass(frozen=True)
class Problem:
    """A problem, its devices, and how it is measured."""

    n: int
    dtype: str
    nrhs: int = 0
    devices: int | None = None  # of a mesh; None is one device without a mesh, for JAX's functions
    tile: int | None = None  # of jaxmg; None is the planner's
    samples: int | None = (
        None  # timed calls after the first one; None is a number by their duration
    )
    donate: bool = False  # each call overwrites its matrix, which is made before the call is timed

    @property
    def mesh(self) -> Mesh:
        return _mesh(self.devices)

    @property
    def rows(self):
        """Return the sharding of matrices."""
        if self.devices is None:
            return SingleDeviceSharding(jax.devices()[0])
        return NamedSharding(self.mesh, PartitionSpec("x", None))

    @property
    def replicated(self):
        """Return the sharding of right-hand sides."""
        return self.rows if self.devices is None else NamedSharding(self.mesh, PartitionSpec())

    def positive(self):
        return systems.make_matrix(self.n, self.dtype, self.rows)

    def hermitian(self):
        return systems.make_matrix(self.n, self.dtype, self.rows, systems.hermitian_noise)

    def general(self):
        return systems.make_matrix(self.n, self.dtype, self.rows, systems.noise)

    def graded(self):
        return systems.graded(self.general())

    def tall(self):
        return systems.make_matrix(self.n, self.dtype, self.rows, systems.noise, TALL_COLUMNS)

    def right_hand_sides(self):
        return systems.make_right_hand_sides(self.n, self.nrhs, self.dtype, self.replicated)

    def probes(self):
        """Return a few random columns, by which a result is checked."""
        return systems.make_right_hand_sides(self.n, systems.PROBES, self.dtype, self.replicated)

    def measure(self, function, make, *others):
        """Measure function(make(), *others); return the measurements, the matrix, the result."""
        call = jax.jit(function, donate_argnums=(0,) if self.donate else ())
        kept = None if self.donate else make()
        outcome, result = _measured(
            call, lambda: (make() if kept is None else kept, *others), self.samples
        )
        return outcome, make() if kept is None else kept, result


def describe() -> dict:
    """Return the devices, their memory that JAX can use, and versions."""
    devices = jax.devices()
    return {
        "memory": (devices[0].memory_stats() or {}).get("bytes_limit"),
        "platform": devices[0].platform,
        "devices": len(devices),
        "kind": devices[0].device_kind,
        "jax": jax.__version__,
        "jaxmg": jaxmg.__version__,
    }


def backends() -> dict:
    """Return the routines and the library of each backend, or why it is not available."""
    return {
        one.name: {"routines": one.routines, "library": f"backend {one.name} {one.version}"}
        if one.available
        else one.reason
        for one in jaxmg.backends()
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
    samples = _samples(lambda: _timed(product, (a, b))[0], enough=0.5)
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
        _timed(call, (a, b))
        _timed(call, (a, b))
        taken = _samples(lambda call=call: _timed(call, (a, b))[0], most=50, enough=0.5)
        result[name] = statistics.median(taken)
    return result


# ---- jaxmg, called as by users: in jit, rows sharded, b replicated -------------------------------


def potrs(problem: Problem) -> dict:
    """Measure jaxmg.potrs."""
    mesh, tile, rows = problem.mesh, problem.tile, (PartitionSpec("x", None),)
    b = problem.right_hand_sides()

    def solve(a, b):
        return jaxmg.potrs(a, b, tile, mesh, rows, return_status=True)

    outcome, a, (x, status) = problem.measure(solve, problem.positive, b)
    if status != 0:
        raise RuntimeError(f"the status is {int(status)}")
    outcome["residual"] = systems.relative_residual(a, x, b)
    return _with_plan(outcome, problem, "potrs", a, b, nrhs=problem.nrhs)


def potri(problem: Problem) -> dict:
    """Measure jaxmg.linalg.inv."""

    def invert(a):
        return linalg.inv(a, assume_a="pos", tile=problem.tile)

    outcome, a, x = problem.measure(invert, problem.positive)
    outcome["residual"] = _residual_of_inverse(problem, a, x)
    return _with_plan(outcome, problem, "potri", a)


def cho_solve(problem: Problem) -> dict:
    """Measure jaxmg.linalg.cho_solve with a factor that is made once."""
    b = problem.right_hand_sides()
    make_factor = jax.jit(lambda a: linalg.cho_factor(a, tile=problem.tile), donate_argnums=0)
    factor = jax.block_until_ready(make_factor(problem.positive()))
    outcome, x = _measured(jax.jit(linalg.cho_solve), lambda: (factor, b), problem.samples)
    # The plan counts the factor as its matrix, and the factor has the tile size.
    outcome = _with_plan(outcome, problem, "cho_solve", b, tile=factor.tile, nrhs=problem.nrhs)
    return outcome | {"residual": systems.relative_residual(problem.positive(), x, b)}


def gesv(problem: Problem) -> dict:
    """Measure jaxmg.linalg.solve of a general matrix."""
    b = problem.right_hand_sides()

    def solve(a, b):
        return linalg.solve(a, b, tile=problem.tile, return_info=True)

    outcome, a, (x, info) = problem.measure(solve, problem.general, b)
    if info != 0:
        raise RuntimeError(f"pivot {int(info)} is zero")
    outcome["residual"] = systems.relative_residual(a, x, b, systems.norm_of_noise)
    return _with_plan(outcome, problem, "gesv", a, b, nrhs=problem.nrhs)


def lu_solve(problem: Problem) -> dict:
    """Measure jaxmg.linalg.lu_solve with a factor that is made once."""
    b = problem.right_hand_sides()
    make_factor = jax.jit(lambda a: linalg.lu_factor(a, tile=problem.tile), donate_argnums=0)
    factor = jax.block_until_ready(make_factor(problem.general()))
    outcome, x = _measured(jax.jit(linalg.lu_solve), lambda: (factor, b), problem.samples)
    # The plan counts the factor as its matrix and has the tile size of the factor.
    outcome = _with_plan(outcome, problem, "getrs", b, tile=factor.tile, nrhs=problem.nrhs)
    residual = systems.relative_residual(problem.general(), x, b, systems.norm_of_noise)
    return outcome | {"residual": residual}


def geqrf(problem: Problem) -> dict:
    """Measure jaxmg.linalg.qr without Q."""

    def factor(a):
        return linalg.qr(a, mode="r", tile=problem.tile)

    outcome, a, r = problem.measure(factor, problem.general)
    outcome["residual"] = systems.norm_difference(a, r, problem.probes())
    return _with_plan(outcome, problem, "geqrf", a)


def orgqr(problem: Problem) -> dict:
    """Measure jaxmg.linalg.qr."""

    def factor(a):
        return linalg.qr(a, tile=problem.tile)

    outcome, a, (q, r) = problem.measure(factor, problem.general)
    outcome |= _errors_of_factors(problem, a, q, r)
    return _with_plan(outcome, problem, "orgqr", a)


def gels(problem: Problem) -> dict:
    """Measure jaxmg.linalg.lstsq by QR."""
    b = problem.right_hand_sides()

    def solve(a, b):
        return linalg.lstsq(a, b, method="qr", tile=problem.tile)[0]

    outcome, a, x = problem.measure(solve, problem.general, b)
    outcome["residual"] = systems.relative_residual(a, x, b, systems.norm_of_noise)
    return _with_plan(outcome, problem, "gels", a, b, nrhs=problem.nrhs)


def gels_tall(problem: Problem) -> dict:
    """Measure jaxmg.linalg.lstsq by QR for n rows and few columns, beside reading the matrix."""
    b = _right_hand_sides_in_range(problem)

    def solve(a, b):
        return linalg.lstsq(a, b, method="qr", tile=problem.tile)[0]

    outcome, a, x = problem.measure(solve, problem.tall, b)
    outcome["residual"] = systems.relative_residual(a, x, b, systems.norm_of_noise)
    read = jax.jit(lambda a: jnp.max(a.real))
    _timed(read, (a,))
    reads = _samples(lambda: _timed(read, (a,))[0], problem.samples or 1)
    outcome = _with_plan(outcome, problem, "gels", a, b, nrhs=problem.nrhs)
    times = statistics.median(outcome["samples"]) / statistics.median(reads)
    outcome["details"]["seconds_to_read"] = statistics.median(reads)
    outcome["note"] += f", {times:.1f} times as long as reading A"
    return outcome


def syevd(problem: Problem) -> dict:
    """Measure jaxmg.linalg.eigh."""

    def solve(a):
        return linalg.eigh(a, tile=problem.tile)

    outcome, a, (values, vectors) = problem.measure(solve, problem.hermitian)
    outcome |= _errors_of_vectors(problem, a, values, vectors)
    return _with_plan(outcome, problem, "syevd", a)


def syevd_values(problem: Problem) -> dict:
    """Measure jaxmg.linalg.eigvalsh."""

    def solve(a):
        return linalg.eigvalsh(a, tile=problem.tile)

    outcome, a, values = problem.measure(solve, problem.hermitian)
    outcome["residual"] = systems.eigenvalue_error(values)
    return _with_plan(outcome, problem, "syevd", a, vectors=0)


def gesvd(problem: Problem) -> dict:
    """Measure jaxmg.linalg.svd."""

    def solve(a):
        return linalg.svd(a, tile=problem.tile)

    outcome, a, (u, s, vh) = problem.measure(solve, problem.graded)
    outcome |= _errors_of_svd(problem, a, u, s, vh)
    return _with_plan(outcome, problem, "gesvd", a)


def svdvals(problem: Problem) -> dict:
    """Measure jaxmg.linalg.svdvals."""

    def solve(a):
        return linalg.svdvals(a, tile=problem.tile)

    outcome, a, s = problem.measure(solve, problem.graded)
    outcome["residual"] = systems.error_of_norm(a, s)
    return _with_plan(outcome, problem, "gesvd", a, vectors=0)


def polar(problem: Problem) -> dict:
    """Measure jaxmg.linalg.polar."""

    def solve(a):
        return linalg.polar(a, tile=problem.tile)

    outcome, a, (u, h) = problem.measure(solve, problem.graded)
    outcome |= _errors_of_svd(problem, a, u, jnp.ones(problem.n, h.real.dtype), h)
    return _with_plan(outcome, problem, "polar", a)


# ---- JAX's counterparts, on one device -----------------------------------------------------------


def jax_potrs(problem: Problem) -> dict:
    """Measure jax.scipy.linalg.cho_solve(cho_factor)."""
    b = problem.right_hand_sides()

    def solve(a, b):
        return jsl.cho_solve(jsl.cho_factor(a), b)

    outcome, a, x = problem.measure(solve, problem.positive, b)
    return outcome | {"residual": systems.relative_residual(a, x, b)}


def jax_potri(problem: Problem) -> dict:
    """Measure jax.numpy.linalg.inv."""
    outcome, a, x = problem.measure(jnp.linalg.inv, problem.positive)
    return outcome | {"residual": _residual_of_inverse(problem, a, x)}


def jax_gesv(problem: Problem) -> dict:
    """Measure jax.numpy.linalg.solve."""
    b = problem.right_hand_sides()
    outcome, a, x = problem.measure(jnp.linalg.solve, problem.general, b)
    return outcome | {"residual": systems.relative_residual(a, x, b, systems.norm_of_noise)}


def jax_lu_solve(problem: Problem) -> dict:
    """Measure jax.scipy.linalg.lu_solve with factors that are made once."""
    b = problem.right_hand_sides()
    a = problem.general()
    factors = jax.block_until_ready(jax.jit(jsl.lu_factor)(a))
    outcome, x = _measured(jax.jit(jsl.lu_solve), lambda: (factors, b), problem.samples)
    return outcome | {"residual": systems.relative_residual(a, x, b, systems.norm_of_noise)}


def jax_geqrf(problem: Problem) -> dict:
    """Measure jax.numpy.linalg.qr without Q."""
    outcome, a, r = problem.measure(lambda a: jnp.linalg.qr(a, mode="r"), problem.general)
    return outcome | {"residual": systems.norm_difference(a, r, problem.probes())}


def jax_orgqr(problem: Problem) -> dict:
    """Measure jax.numpy.linalg.qr."""
    outcome, a, (q, r) = problem.measure(jnp.linalg.qr, problem.general)
    return outcome | _errors_of_factors(problem, a, q, r)


def jax_gels(problem: Problem) -> dict:
    """Measure jax.numpy.linalg.lstsq."""
    b = problem.right_hand_sides()
    outcome, a, x = problem.measure(lambda a, b: jnp.linalg.lstsq(a, b)[0], problem.general, b)
    return outcome | {"residual": systems.relative_residual(a, x, b, systems.norm_of_noise)}


def jax_gels_tall(problem: Problem) -> dict:
    """Measure jax.numpy.linalg.lstsq for n rows and few columns."""
    b = _right_hand_sides_in_range(problem)
    outcome, a, x = problem.measure(lambda a, b: jnp.linalg.lstsq(a, b)[0], problem.tall, b)
    return outcome | {"residual": systems.relative_residual(a, x, b, systems.norm_of_noise)}


def jax_cho_solve(problem: Problem) -> dict:
    """Measure jax.scipy.linalg.cho_solve with a factor that is made once."""
    b = problem.right_hand_sides()
    a = problem.positive()
    factor = jax.block_until_ready(jax.jit(lambda a: jsl.cho_factor(a)[0])(a))
    solve = jax.jit(lambda c, b: jsl.cho_solve((c, False), b))
    outcome, x = _measured(solve, lambda: (factor, b), problem.samples)
    return outcome | {"residual": systems.relative_residual(a, x, b)}


def jax_syevd(problem: Problem) -> dict:
    """Measure jax.numpy.linalg.eigh."""
    outcome, a, (values, vectors) = problem.measure(jnp.linalg.eigh, problem.hermitian)
    return outcome | _errors_of_vectors(problem, a, values, vectors)


def jax_syevd_values(problem: Problem) -> dict:
    """Measure jax.numpy.linalg.eigvalsh."""
    outcome, _, values = problem.measure(jnp.linalg.eigvalsh, problem.hermitian)
    return outcome | {"residual": systems.eigenvalue_error(values)}


def jax_gesvd(problem: Problem) -> dict:
    """Measure jax.numpy.linalg.svd."""

    def solve(a):
        return jnp.linalg.svd(a, full_matrices=False)

    outcome, a, (u, s, vh) = problem.measure(solve, problem.graded)
    return outcome | _errors_of_svd(problem, a, u, s, vh)


def jax_svdvals(problem: Problem) -> dict:
    """Measure jax.numpy.linalg.svdvals."""
    outcome, a, s = problem.measure(jnp.linalg.svdvals, problem.graded)
    return outcome | {"residual": systems.error_of_norm(a, s)}


def jax_polar(problem: Problem) -> dict:
    """Measure jax.scipy.linalg.polar by its SVD: its qdwh is not backward stable."""
    outcome, a, (u, h) = problem.measure(lambda a: jsl.polar(a, method="svd"), problem.graded)
    return outcome | _errors_of_svd(problem, a, u, jnp.ones(problem.n, h.real.dtype), h)


# ---- shared code ---------------------------------------------------------------------------------


def _mesh(devices: int) -> Mesh:
    return Mesh(np.array(jax.devices()[:devices]), ("x",))


def _right_hand_sides_in_range(problem: Problem):
    """Return right-hand sides in the range of the tall matrix."""
    x = jax.random.normal(jax.random.key(0), (TALL_COLUMNS, problem.nrhs), problem.dtype)
    return jax.jit(systems.product, out_shardings=problem.rows)(problem.tall(), x)


def _residual_of_inverse(problem: Problem, a, x) -> float:
    """Return the residual of solutions by the inverse, which needs no N x N products."""
    b = problem.probes()
    return systems.relative_residual(a, systems.product(x, b), b)


def _errors_of_factors(problem: Problem, a, q, r) -> dict:
    residual, lost = systems.factor_errors(a, q, r, problem.probes())
    return {"residual": residual, "details": {"orthogonality": lost}}


def _errors_of_vectors(problem: Problem, a, values, vectors) -> dict:
    residual, lost = systems.eigen_errors(a, values, vectors, problem.probes())
    return {"residual": residual, "details": {"orthogonality": lost}}


def _errors_of_svd(problem: Problem, a, u, s, vh) -> dict:
    residual, lost = systems.svd_errors(a, u, s, vh, problem.probes())
    return {"residual": residual, "details": {"orthogonality": lost}}


def _with_plan(outcome: dict, problem: Problem, routine: str, *own, tile=None, **wanted) -> dict:
    """Add the memory that jaxmg's planner reports, besides the caller's `own` arrays."""
    n, tile = problem.n, tile or problem.tile
    shape = own[0].shape if routine == "gels" else (n, n)
    plan = jaxmg.plan(routine, shape, problem.dtype, problem.mesh, tile=tile, **wanted)
    if problem.donate or (routine == "gels" and plan.kept_bytes == 0):
        own = own[1:]  # the plan has the matrix
    details = {"tile": plan.tile, "planned_seconds": plan.seconds}
    own_bytes = sum(array.addressable_shards[0].data.nbytes for array in own)
    return outcome | {
        "planned_bytes": own_bytes + plan.total_bytes,
        "note": f"tile {plan.tile}" + (", donated" if problem.donate else ""),
        "details": outcome.get("details", {}) | details,
    }


def _measured(call, arguments, samples: int | None) -> tuple[dict, object]:
    """Return the measurements of a jitted call(*arguments()), and its result."""
    given = arguments()
    began = time.perf_counter()
    compiled = call.lower(*given).compile()
    compiling = time.perf_counter() - began
    with _Peak(compiled, given) as peak:
        try:
            seconds, result = _timed(compiled, given)
        except jax.errors.JaxRuntimeError:
            if not peak.give_up():
                raise
            seconds, result = _timed(compiled, arguments())
    del given
    first = compiling + seconds

    def sample():
        nonlocal result
        result = None  # it may be as large as the matrix
        seconds, result = _timed(compiled, jax.block_until_ready(arguments()))
        return seconds

    # Without more samples, the first call counts, without its compilation.
    taken = [seconds] if samples == 0 else _samples(sample, samples)
    return {"samples": taken, "first_call": first, "peak_bytes": peak.bytes}, result


def _timed(call, arguments) -> tuple[float, object]:
    """Return the seconds of a call, and its result."""
    began = time.perf_counter()
    result = jax.block_until_ready(call(*arguments))
    return time.perf_counter() - began, result


def _samples(sample, number=None, most=MOST_SAMPLES, enough=MOST_SECONDS) -> list[float]:
    """Return `number` samples; without it, up to `most`, and few of long calls."""
    taken = [sample()]
    if number is None:
        long = taken[0] > enough
        while not long and len(taken) < most:
            if len(taken) >= LEAST_SAMPLES and sum(taken) > enough:
                break
            taken.append(sample())
        return taken
    return taken + [sample() for _ in range(number - 1)]


class _Peak:
    """Peak memory of one call, on the device of this process that uses most.

    XLA reports the peak since the process began. An array that fills the memory up to that peak
    makes the peak of a smaller call visible, if both fit. Otherwise `bytes` is None.
    """

    def __init__(self, compiled, arguments):
        arrays = jax.tree.leaves(arguments)
        devices = {shard.device for array in arrays for shard in array.addressable_shards}
        self._devices = sorted(devices, key=lambda device: device.id)
        self._compiled = compiled
        self._filling = None
        self._filled = 0
        self.bytes = None

    def __enter__(self):
        self._before = self._statistics()
        if self._before is None or jax.process_count() > 1:
            return self
        earlier = max(stats["peak_bytes_in_use"] for stats in self._before)
        used = min(stats["bytes_in_use"] for stats in self._before)
        limit = min(stats.get("bytes_limit", 0) for stats in self._before)
        sizes = self._compiled.memory_analysis()
        need = sizes.temp_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
        if used < earlier and earlier + need < 0.9 * limit:
            self._fill(-(-(earlier - used) // 2**20) * 2**20)
        return self

    def _fill(self, count: int):
        """Allocate `count` bytes on each device, if there is room in one piece."""
        sharding = NamedSharding(Mesh(np.array(self._devices), ("x",)), PartitionSpec("x"))
        total = count * len(self._devices)
        zeros = jax.jit(lambda: jnp.zeros(total, np.uint8), out_shardings=sharding)
        try:
            self._filling = zeros().block_until_ready()
        except jax.errors.JaxRuntimeError:
            return
        self._filled = count
        self._before = self._statistics()

    def give_up(self) -> bool:
        """Free what was allocated; return whether there was anything."""
        found, self._filling, self._before = self._filling is not None, None, None
        return found

    def __exit__(self, *_):
        after = self._statistics()
        if after is not None and self._before is not None:
            peaks = [stats["peak_bytes_in_use"] for stats in after]
            earlier = [stats["peak_bytes_in_use"] for stats in self._before]
            # A peak that has not grown belongs to an earlier call.
            if any(now > before for now, before in zip(peaks, earlier, strict=True)):
                self.bytes = max(peaks) - self._filled
        self._filling = None

    def _statistics(self) -> list[dict] | None:
        found = [device.memory_stats() for device in self._devices]
        return found if all(stats and "peak_bytes_in_use" in stats for stats in found) else None
