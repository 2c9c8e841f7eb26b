"""jaxmg.plan: planned peaks, compared with the memory of XLA's programs.

Programs are compiled as for the GPUs of one process, and not run: without roll calls, which read
arrays that the next call overwrites, and with all-to-alls of whole arrays, which CPUs split.
"""

import jax
import jaxmg
import numpy as np
import pytest
from jax import lax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jaxmg import linalg
from jaxmg._native import ffi

N, WIDTH = 4096, 256
SQUARE, RECTANGULAR = (N, N), [(3 * N // 2, N), (N, 3 * N // 2)]
TALL = (16 * N, WIDTH)


def rank_only(ranks, call_site, operands):
    if ranks.size == 1:
        return ()
    return (lax.axis_index(ranks.axes).astype(np.int32).reshape(1),)


@pytest.fixture(autouse=True)
def as_on_gpus(monkeypatch):
    monkeypatch.setattr(ffi, "_identity", rank_only)
    jax.clear_caches()
    yield
    jax.clear_caches()


def needed(function, *arguments, donate=False) -> int:
    """Return the bytes of a device for the arguments, results and temporary arrays of a program."""
    lowered = jax.jit(function, donate_argnums=(0,) if donate else ()).lower(*arguments)
    options = {"xla_disable_hlo_passes": "all_to_all_decomposer"}
    memory = lowered.compile(compiler_options=options).memory_analysis()
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )


def matrix(mesh, shape, dtype):
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, P("x", None)))


def planned(routine, shape, dtype, ranks, **wanted) -> int:
    plan = jaxmg.plan(routine, shape, dtype, ranks, **wanted)
    return plan.kept_bytes + plan.total_bytes


def shard_bytes(shape, dtype, ranks) -> int:
    return shape[0] * shape[1] * np.dtype(dtype).itemsize // ranks


def small(shape, dtype) -> int:
    """Return a bound of vectors, eigenvalues, scalars and replicated right-hand sides."""
    return 16 * max(shape) * np.dtype(dtype).itemsize + 2**16


# Of a matrix alone: routine, further arguments of its plan, function.
OF_A_MATRIX = {
    "cho_factor": ("cho_factor", {}, linalg.cho_factor),
    "cholesky": ("cholesky", {}, linalg.cholesky),
    "potri": ("potri", {}, lambda a: linalg.inv(a, assume_a="pos")),
    "lu_factor": ("getrf", {}, linalg.lu_factor),
    "inv": ("getri", {}, linalg.inv),
    "eigh": ("syevd", {}, linalg.eigh),
    "eigvalsh": ("syevd", {"vectors": 0}, linalg.eigvalsh),
    "svd": ("gesvd", {}, lambda a: linalg.svd(a, full_matrices=False)),
    "svdvals": ("gesvd", {"vectors": 0}, linalg.svdvals),
    "polar": ("polar", {}, linalg.polar),
}


@pytest.mark.parametrize("name", OF_A_MATRIX)
@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_square_matrices(make_mesh, name, ranks, dtype):
    routine, wanted, function = OF_A_MATRIX[name]
    peak = needed(function, matrix(make_mesh(ranks), SQUARE, dtype))
    assert abs(peak - planned(routine, SQUARE, dtype, ranks, **wanted)) <= small(SQUARE, dtype)


SOLVES = {
    "gesv": linalg.solve,
    "potrs": lambda a, b: linalg.solve(a, b, assume_a="pos"),
    "trtrs": linalg.solve_triangular,
    "gels": lambda a, b: linalg.lstsq(a, b, method="qr")[:2],
}


def check_solve(mesh, routine, shape, dtype, ranks, more=0):
    b = jax.ShapeDtypeStruct(shape[:1], dtype, sharding=NamedSharding(mesh, P()))
    peak = needed(SOLVES[routine], matrix(mesh, shape, dtype), b)
    assert abs(peak - planned(routine, shape, dtype, ranks)) <= small(shape, dtype) + more


@pytest.mark.parametrize("routine", SOLVES)
@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_solves(make_mesh, routine, ranks, dtype):
    check_solve(make_mesh(ranks), routine, SQUARE, dtype, ranks)


@pytest.mark.parametrize("shape", [*RECTANGULAR, TALL, TALL[::-1]])
@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_least_squares(make_mesh, shape, ranks, dtype):
    more = 0
    if shape == TALL[::-1]:
        more = 2 * WIDTH**2 * np.dtype(dtype).itemsize  # R, replicated
        if dtype == "complex128":
            more += shard_bytes(shape, dtype, ranks)  # XLA forms the conjugate of A twice.
    check_solve(make_mesh(ranks), "gels", shape, dtype, ranks, more)


def check_qr(mesh, mode, shape, dtype, ranks):
    """Return the planned peak of QR less the needed one, and the bytes of triangular factors."""
    routine = "geqrf" if mode == "r" else "orgqr"
    peak = needed(lambda a: linalg.qr(a, mode=mode), matrix(mesh, shape, dtype))
    tile = jaxmg.plan(routine, shape, dtype, ranks).tile
    factors = -(-shape[1] // ranks) * tile * np.dtype(dtype).itemsize
    return planned(routine, shape, dtype, ranks) - peak, factors


@pytest.mark.parametrize("mode", ["r", "reduced"])
@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_qr(make_mesh, mode, ranks, dtype):
    more, factors = check_qr(make_mesh(ranks), mode, SQUARE, dtype, ranks)
    assert abs(more) <= factors + small(SQUARE, dtype)


@pytest.mark.parametrize("mode", ["r", "reduced"])
@pytest.mark.parametrize("shape", RECTANGULAR)
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_qr_of_rectangular_matrices_plans_a_shard_too_many_at_most(make_mesh, mode, shape, ranks):
    more, factors = check_qr(make_mesh(ranks), mode, shape, "float64", ranks)
    spare = factors + small(shape, "float64")
    assert -spare <= more <= shard_bytes(shape, "float64", ranks) + spare


@pytest.mark.parametrize("mode", ["r", "reduced"])
@pytest.mark.parametrize("ranks", [2, 4])
def test_qr_of_tall_matrices(make_mesh, mode, ranks):
    more, _ = check_qr(make_mesh(ranks), mode, TALL, "float64", ranks)
    assert abs(more) <= small(TALL, "float64") + 2 * WIDTH**2 * 8  # R, replicated and in rows


def test_one_factor_serves_q_and_r(make_mesh):
    # XLA would copy the factor if R were not made before Q overwrites it.
    text = jax.jit(linalg.qr).lower(matrix(make_mesh(4), SQUARE, "float64")).compile().as_text()
    calls = [line for line in text.splitlines() if "jaxmg_orgqr" in line]
    assert len(calls) == 1
    operand = calls[0].split("custom-call(")[1].split(",")[0]
    (made,) = (line for line in text.splitlines() if line.strip().startswith(f"{operand} ="))
    assert "get-tuple-element" in made


@pytest.mark.parametrize("shape", [*RECTANGULAR, (2 * N, N)])
@pytest.mark.parametrize("ranks", [2, 4])
def test_svd_of_rectangular_matrices(make_mesh, shape, ranks):
    peak = needed(OF_A_MATRIX["svd"][2], matrix(make_mesh(ranks), shape, "float64"))
    assert abs(peak - planned("gesvd", shape, "float64", ranks)) <= small(shape, "float64")


@pytest.mark.parametrize("shape", [*RECTANGULAR, (2 * N, N)])
@pytest.mark.parametrize("ranks", [2, 4])
def test_svdvals_of_rectangular_matrices_plan_a_shard_too_many_at_most(make_mesh, shape, ranks):
    peak = needed(linalg.svdvals, matrix(make_mesh(ranks), shape, "float64"))
    more = planned("gesvd", shape, "float64", ranks, vectors=0) - peak
    spare = small(shape, "float64")
    assert -spare <= more <= shard_bytes(shape, "float64", ranks) + spare
