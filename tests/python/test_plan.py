"""jaxmg.plan: estimated bytes and seconds of a call."""

import dataclasses

import jaxmg
import numpy as np
import pytest
from jaxmg._native import plans


def test_fields_and_text(make_mesh, devices):
    plan = jaxmg.plan("potrs", (1000, 1000), "float64", 4)
    assert plan.ranks == 4
    assert plan.shard_bytes == 250 * 1000 * 8
    assert 1 <= plan.tile <= 250
    assert plan.total_bytes == plan.shard_bytes + plan.rhs_bytes + plan.workspace_bytes
    assert plan.seconds > 0
    text = str(plan)
    assert "1000 x 1000 float64" in text and "4 devices" in text and f"tile {plan.tile}" in text
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.tile = 3


def test_bytes_of_a_matrix_that_is_not_donated():
    assert jaxmg.plan("gesv", (1000, 1000), "float64", 4).kept_bytes == 250 * 1000 * 8
    assert jaxmg.plan("getrs", (1000, 1000), "float64", 4).kept_bytes == 0
    assert jaxmg.plan("gels", (100000, 50), "float64", 4).kept_bytes == 0


def test_forms_of_devices(make_mesh, devices):
    mesh = make_mesh(2)
    plans = [jaxmg.plan("potrs", (64, 64), np.complex64, d) for d in (2, devices[:2], mesh)]
    assert plans[0] == plans[1] == plans[2]


def test_platform_of_a_number_of_devices(devices):
    cpu, gpu = (jaxmg.plan("potrs", (4096, 4096), "float64", 4, platform=p) for p in ("cpu", "gpu"))
    assert gpu.seconds < cpu.seconds
    with pytest.raises(ValueError, match="platform must be one of"):
        jaxmg.plan("potrs", (64, 64), "float64", 4, platform="tpu")
    with pytest.raises(ValueError, match="platform is 'tpu', but devices are of"):
        jaxmg.plan("potrs", (64, 64), "float64", devices[:1], platform="tpu")


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 8])
def test_grows_with_the_problem(dtype, ranks):
    plans = [jaxmg.plan("potrs", (n, n), dtype, ranks) for n in (512, 2048, 8192)]
    for small, large in zip(plans, plans[1:], strict=False):
        assert small.seconds < large.seconds
        assert small.shard_bytes < large.shard_bytes


def test_many_right_hand_sides_are_distributed():
    few = jaxmg.plan("potrs", (1024, 1024), "float64", 4, nrhs=1)
    many = jaxmg.plan("potrs", (1024, 1024), "float64", 4, nrhs=1024)
    assert few.rhs_bytes == 1024 * 8
    assert many.rhs_bytes == 256 * 1024 * 8


@pytest.mark.parametrize("routine", ["gesvd", "polar"])
def test_matrices_that_are_not_square_are_factored_first(routine):
    def planned(routine, *shape, **options):
        return jaxmg.plan(routine, shape, "float64", 4, platform="gpu", **options)

    square, tall, wide = (planned(routine, *s) for s in ((2048, 2048), (4096, 2048), (2048, 4096)))
    assert (tall.shape, wide.shape) == ((4096, 2048), (2048, 4096))
    assert tall.tile == square.tile
    qr = planned("orgqr", 4096, 2048).seconds
    assert tall.seconds == wide.seconds == pytest.approx(square.seconds + qr)


def test_singular_values_need_no_q():
    values, r = (
        jaxmg.plan(*problem, "float64", 4, platform="gpu", **options).seconds
        for problem, options in (
            (("gesvd", (3000, 2000)), {"vectors": 0}),
            (("geqrf", (3000, 2000)), {}),
        )
    )
    square = jaxmg.plan("gesvd", (2000, 2000), "float64", 4, platform="gpu", vectors=0).seconds
    assert values == pytest.approx(square + r)


def test_an_inverse_is_a_factorisation_and_more():
    def planned(routine, **options):
        return jaxmg.plan(routine, (4096, 4096), "float64", 4, **options)

    factor, inverse, triangle = map(planned, ("cho_factor", "potri", "cholesky"))
    assert factor.tile == inverse.tile == triangle.tile
    assert factor.shard_bytes == inverse.shard_bytes == 1024 * 4096 * 8
    assert factor.seconds < inverse.seconds and factor.seconds < triangle.seconds
    assert factor.workspace_bytes <= inverse.workspace_bytes
    assert factor.rhs_bytes == 0
    solve = planned("cho_solve", nrhs=3)
    assert solve.rhs_bytes == 3 * 4096 * 8 and solve.seconds < planned("potrs", nrhs=3).seconds


def test_routines_of_lu():
    def planned(routine, **options):
        return jaxmg.plan(routine, (4096, 4096), "float64", 4, **options)

    solve, factor, inverse = map(planned, ("gesv", "getrf", "getri"))
    assert solve.tile == factor.tile == inverse.tile == planned("getrs").tile
    assert factor.shard_bytes == inverse.shard_bytes == 1024 * 4096 * 8
    assert planned("getrs").seconds < factor.seconds < solve.seconds < inverse.seconds
    assert planned("trtrs").seconds < factor.seconds
    assert planned("getrs", nrhs=3).rhs_bytes == planned("trtrs", nrhs=3).rhs_bytes == 3 * 4096 * 8
    assert planned("cho_factor").seconds < factor.seconds


def test_eigenvectors_cost_something():
    def plan(**options):
        return jaxmg.plan("syevd", (4096, 4096), "float64", 4, **options)

    everything, some, none = plan(), plan(vectors=512), plan(vectors=0)
    assert everything.nrhs == 4096 and "4096 eigenvectors" in str(everything)
    assert none.seconds < some.seconds < everything.seconds
    assert none.rhs_bytes < some.rhs_bytes < everything.rhs_bytes
    assert none.total_bytes < everything.total_bytes
    for number in (-1, 4097):
        with pytest.raises(ValueError, match="vectors must be from 0 to 4096"):
            plan(vectors=number)


def test_hosts_affect_only_the_time():
    one, two = (jaxmg.plan("potri", (4096, 4096), "float64", 4, hosts=hosts) for hosts in (1, 2))
    assert one.seconds < two.seconds
    assert dataclasses.replace(one, seconds=two.seconds) == two
    for hosts in (0, 5):
        with pytest.raises(ValueError, match="hosts"):
            jaxmg.plan("potri", (4096, 4096), "float64", 4, hosts=hosts)


def test_time_on_a_grid():
    def seconds(routine, **options):
        sizes = (routine, 65536, 1, np.dtype("float64"))
        return plans.plan(*sizes, ranks=64, backend="cusolvermp", **options).seconds

    assert seconds("potrf") < seconds("posv") < seconds("posv", hosts=8)
    slow = plans.Network(network_bytes=1e9)
    assert seconds("posv", hosts=8) < seconds("posv", hosts=8, network=slow)
    with pytest.raises(ValueError, match="cusolvermp does not serve potri"):
        seconds("potri")


def test_limit_of_workspace():
    free = jaxmg.plan("potrs", (8192, 8192), "float64", 4)
    limited = jaxmg.plan("potrs", (8192, 8192), "float64", 4, workspace_limit=free.workspace_bytes)
    assert limited.workspace_bytes <= free.workspace_bytes
    with pytest.raises(ValueError, match="workspace"):
        jaxmg.plan("potrs", (8192, 8192), "float64", 4, workspace_limit=1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("geev", (4, 4), "float64", 2), ValueError, "routine must be"),
        (("potrs", (4, 5), "float64", 2), ValueError, "square"),
        (("potrs", (4, 4), "int32", 2), TypeError, "dtype must be one of"),
        (("potrs", (4, 4), "float64", 0), ValueError, "devices must be at least 1"),
        (("potrs", (4, 4), "float64", []), ValueError, "devices must not be empty"),
        (("potrs", (4, 4), "float64", "x"), TypeError, "devices"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        jaxmg.plan(*arguments)


# Seconds of warm calls on H200, of benchmarks/results/2026-11-28_4x-nvidia-h200_planner.md; on one
# of them, of 2026-11-27_4x-nvidia-h200_small.md.
@pytest.mark.parametrize(
    ("routine", "shape", "dtype", "devices", "seconds"),
    [
        ("potrs", (1024, 1024), "float64", 1, 0.000828),
        ("potrs", (1024, 1024), "float64", 2, 0.000878),
        ("potrs", (4096, 4096), "complex128", 4, 0.00616),
        ("potrs", (65536, 65536), "float64", 4, 0.558),
        ("cho_solve", (1024, 1024), "float64", 4, 0.000649),
        ("cho_solve", (32768, 32768), "float64", 2, 0.00416),
        ("cho_solve", (32768, 32768), "complex128", 4, 0.00907),
        ("getrs", (16384, 16384), "float32", 4, 0.0017),
        ("potri", (2048, 2048), "float64", 1, 0.00299),
        ("potri", (16384, 16384), "float64", 4, 0.0549),
        ("gesv", (4096, 4096), "complex128", 4, 0.0234),
        ("geqrf", (4096, 4096), "float64", 4, 0.015),
        ("geqrf", (16384, 16384), "float32", 4, 0.12),
        ("orgqr", (4096, 4096), "complex128", 4, 0.0358),
        ("gels", (262144, 1024), "float32", 4, 0.00228),
        ("gels", (1048576, 1024), "float64", 2, 0.0266),
        ("syevd", (1024, 1024), "float64", 4, 0.0116),
        ("polar", (4096, 4096), "float64", 4, 0.0906),
        ("gesvd", (1024, 1024), "float64", 4, 0.0302),
    ],
)
def test_seconds_are_close_to_measured_ones(routine, shape, dtype, devices, seconds, monkeypatch):
    monkeypatch.delenv("JAXMG_ONE_RANK_UP_TO")
    planned = jaxmg.plan(routine, shape, dtype, devices, platform="gpu").seconds
    assert seconds / 1.2 <= planned <= seconds * 1.2


def test_a_call_takes_time_even_without_work():
    def planned(routine, devices, platform):
        return jaxmg.plan(routine, (8, 8), "float64", devices, platform=platform).seconds

    for platform in ("cpu", "gpu"):
        one, four = (planned("cho_factor", devices, platform) for devices in (1, 4))
        assert 20e-6 < one < four < 1e-3
        assert four < planned("potri", 4, platform), "which takes two native calls"
