"""Choice of the backend, and options shared by all calls."""

import dataclasses
import threading

import jax
import jaxmg
import jaxmg.lineax
import lineax
import numpy as np
import pytest
from jax.errors import JaxRuntimeError
from jaxmg import linalg
from jaxmg._native import ffi, plans
from jaxmg._planning import backends
from jaxmg._planning.backends import Choice, Request
from systems import (
    RANKS_AND_DTYPES,
    ROWS,
    assert_eigen,
    assert_eigenvalues,
    assert_factor,
    assert_inverse,
    assert_solves,
    gaussian,
    hermitian,
    positive_definite,
    put,
)

A, B = positive_definite(12), np.ones(12)
VENDORS = ("cusolvermg", "cusolvermp")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    monkeypatch.delenv("JAXMG_BACKEND", raising=False)


@pytest.fixture
def on_cpu(devices):
    if devices[0].platform != "cpu":
        pytest.skip("the restriction is the CPU's")


@pytest.fixture
def installed(monkeypatch):
    """Return a function that sets which vendors' libraries appear to be installed."""

    def install(*names):
        def availability(name):
            return ("1.2.3", None) if name in names else (None, "it is not installed")

        monkeypatch.setattr(backends, "_availability", availability)

    return install


def request(**changes):
    on_gpus = Request(
        n=4096, count=1, dtype=np.dtype("float64"), ranks=4, platform="gpu", processes=1, hosts=1
    )
    return dataclasses.replace(on_gpus, **changes)


# --- options ------------------------------------------------------------------------------------


def test_precedence_of_options(monkeypatch):
    config = jaxmg.config
    assert config.backend == "auto" and config.origin("backend") is None
    monkeypatch.setenv("JAXMG_BACKEND", "cusolvermp")
    assert config.backend == "cusolvermp" and config.origin("backend") == "JAXMG_BACKEND"
    try:
        config.update("backend", "cusolvermg")
        assert config.backend == "cusolvermg" and config.origin("backend") == "jaxmg.config"
        with config.using(backend="tiled", timeout_seconds=2):
            assert config.backend == "tiled" and config.timeout_seconds == 2
            with config.using(backend="auto"):
                assert config.backend == "auto" and config.timeout_seconds == 2
            assert config.backend == "tiled"
        assert config.backend == "cusolvermg"
    finally:
        config.update("backend", None)
    assert config.backend == "cusolvermp"
    assert "backend='cusolvermp'" in repr(config)


def test_using_is_thread_local():
    seen = []
    with jaxmg.config.using(backend="tiled"):
        other = threading.Thread(target=lambda: seen.append(jaxmg.config.backend))
        other.start()
        other.join()
    assert seen == ["auto"]


@pytest.mark.parametrize(("seconds", "milliseconds"), [(7.5, 7500), (1e20, 10**12)])
def test_timeout_of_a_call(monkeypatch, seconds, milliseconds):
    calls = []
    real = ffi._attributes
    monkeypatch.setattr(
        ffi, "_attributes", lambda *args, **kw: calls.append(real(*args, **kw)) or calls[-1]
    )
    with jaxmg.config.using(timeout_seconds=seconds):
        jax.jit(lambda a: linalg.solve(a, B, assume_a="pos")).lower(A)
    assert {int(call["timeout_ms"]) for call in calls} == {milliseconds}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("backend", "magma", "backend must be one of .*'tiled'.*got 'magma'"),
        ("timeout_seconds", 0, "timeout_seconds must be a number of seconds above 0, got 0"),
        ("timeout_seconds", "soon", "timeout_seconds must be .* got 'soon'"),
        ("timeout_seconds", float("inf"), "timeout_seconds must be"),
        (
            "tile",
            3,
            r"options .* \('backend', 'log', .*, 'timeout_seconds'\), got 'tile'",
        ),
    ],
)
def test_invalid_options(name, value, message):
    with pytest.raises(ValueError, match=message):
        jaxmg.config.update(name, value)
    with pytest.raises(ValueError, match=message):
        with jaxmg.config.using(**{name: value}):
            pass


@pytest.mark.parametrize(
    ("variable", "value"), [("JAXMG_BACKEND", "magma"), ("JAXMG_TIMEOUT_SECONDS", "-1")]
)
def test_invalid_variables(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=f"{variable} must be .*got '{value}'"):
        linalg.solve(A, B, assume_a="pos", tile=5)


# --- an explicit choice -------------------------------------------------------------------------

EVERY_FUNCTION = {
    "solve": lambda a, **k: linalg.solve(a, B, assume_a="pos", **k),
    "inv": lambda a, **k: linalg.inv(a, assume_a="pos", **k),
    "cholesky": linalg.cholesky,
    "cho_factor": linalg.cho_factor,
    "cho_factor_shifted": linalg.cho_factor_shifted,
    "logdet": linalg.logdet,
    "slogdet": lambda a, **k: linalg.slogdet(a, assume_a="pos", **k),
    "cho_solve": lambda a, **k: linalg.cho_solve(factor(a), B, **k),
    "solve_triangular": lambda a, **k: linalg.solve_triangular(factor(a), B, **k),
    "inv of a factor": lambda a, **k: linalg.inv(factor(a), **k),
    "cholesky of a factor": lambda a, **k: linalg.cholesky(factor(a), **k),
    "slogdet of a factor": lambda a, **k: linalg.slogdet(factor(a), **k),
    "eigh": linalg.eigh,
    "eigvalsh": linalg.eigvalsh,
    "pinvh": linalg.pinvh,
    "sqrtm_h": linalg.sqrtm_h,
    "potrs": lambda a, **k: jaxmg.potrs(a, B, **k),
    "potri": jaxmg.potri,
    "syevd": jaxmg.syevd,
    "lineax": lambda a, **k: (
        lineax.linear_solve(
            lineax.MatrixLinearOperator(a, lineax.positive_semidefinite_tag),
            B,
            jaxmg.lineax.Cholesky(**k),
        ).value
    ),
}


def factor(a):
    return linalg.cho_factor(a, backend="tiled")


@pytest.mark.parametrize("backend", VENDORS)
@pytest.mark.parametrize("function", EVERY_FUNCTION)
def test_no_vendors_library_runs_on_cpus(make_mesh, on_cpu, function, backend):
    a = put(A, make_mesh(2), "x", None)
    with pytest.raises(ValueError, match=f"backend='{backend}' .*cannot be used") as caught:
        EVERY_FUNCTION[function](a, backend=backend)
    assert "(requested)" in str(caught.value)


def test_rejected_before_any_work_starts(make_mesh, on_cpu):
    a = put(A, make_mesh(2), "x", None)
    with pytest.raises(ValueError, match="runs on NVIDIA GPUs, and the mesh is of CPU devices"):
        jax.jit(lambda a: linalg.inv(a, assume_a="pos", backend="cusolvermg")).lower(a)


@pytest.mark.parametrize("function", ["potrs", "potri", "syevd"])
def test_inside_shard_map(make_mesh, on_cpu, function):
    mesh = make_mesh(2)
    local = getattr(jaxmg, f"{function}_shardmap_ctx")

    def run(a):
        arguments = (a, B[:, None]) if function == "potrs" else (a,)
        return local(*arguments, backend="cusolvermg")[0]

    sharded = jax.shard_map(run, mesh=mesh, in_specs=ROWS, out_specs=ROWS)
    with pytest.raises(ValueError, match="backend='cusolvermg' .*cannot be used"):
        sharded(put(A, mesh, "x", None))


def test_backend_from_the_environment(make_mesh, on_cpu, monkeypatch):
    monkeypatch.setenv("JAXMG_BACKEND", "cusolvermg")
    a = put(A, make_mesh(2), "x", None)
    with pytest.raises(ValueError, match=r"backend='cusolvermg' \(set by JAXMG_BACKEND\)"):
        linalg.eigvalsh(a)
    # An argument overrides the variable.
    assert_solves(A, linalg.solve(a, B, assume_a="pos", backend="tiled"), B)


def test_auto_selects_tiled_on_cpus(make_mesh, on_cpu):
    a = put(A, make_mesh(3), "x", None)
    auto, tiled = (linalg.solve(a, B, assume_a="pos", backend=b) for b in ("auto", "tiled"))
    np.testing.assert_array_equal(auto, tiled)


@pytest.mark.parametrize(
    ("name", "routine", "changes", "message"),
    [
        ("cusolvermg", "solve_triangular", {}, "cuSOLVERMg has no solve_triangular, only potrs"),
        ("cusolvermg", "potrs", {"processes": 2}, "one process .*mesh spans 2 processes"),
        ("cusolvermg", "syevd", {"platform": "tpu"}, "the mesh is of TPU devices"),
        ("cusolvermp", "potri", {}, "cuSOLVERMp has no potri"),
        ("cusolvermp", "cholesky", {"platform": "cpu"}, "the mesh is of CPU devices"),
    ],
)
def test_unsupported_calls_are_rejected(installed, name, routine, changes, message):
    installed(*VENDORS)
    with pytest.raises(ValueError, match=message):
        backends.choose(routine, request(**changes), name)


def test_a_library_that_is_not_installed(installed):
    installed()
    with pytest.raises(RuntimeError, match="'cusolvermg' .*not available: it is not installed"):
        backends.choose("potrs", request(), "cusolvermg")


def test_results_that_may_be_wrong(installed):
    installed("cusolvermp")
    with pytest.warns(jaxmg.JaxMgWarning, match="wrong eigenvectors"):
        assert backends.choose("syevd", request(), "cusolvermp").name == "cusolvermp"
    with pytest.warns(jaxmg.JaxMgWarning, match="not unitary"):
        assert backends.choose("polar", request(), "cusolvermp").name == "cusolvermp"
    assert backends.choose("potrs", request(), "cusolvermp") == Choice("cusolvermp", "requested")


def test_native_code_rejects_missing_backends(make_mesh, on_cpu, monkeypatch):
    """A plan for GPUs, by a backend that the CPU library does not have."""
    plan = plans.plan

    def for_gpus(*sizes, platform, backend, **arguments):
        return plan(*sizes, platform="gpu", backend="cusolvermg", **arguments)

    a = put(A, make_mesh(2), "x", None)
    for call in (linalg.cho_factor, linalg.eigvalsh):
        monkeypatch.setattr(plans, "plan", for_gpus)
        with pytest.raises(JaxRuntimeError, match="no backend number 1 on CPUs"):
            jax.block_until_ready(call(a, tile=3))


# --- the automatic choice -----------------------------------------------------------------------


@pytest.mark.parametrize("routine", [*backends.STEPS, "solve_triangular"])
def test_cpus_have_one_backend(routine):
    choice = backends.choose(routine, request(platform="cpu"))
    assert choice == Choice("tiled", "no other backend serves this call")


def test_fastest_available_backend_is_chosen(installed, monkeypatch):
    seconds = {"tiled": 2.0, "cusolvermg": 1.0, "cusolvermp": 0.5}
    monkeypatch.setattr(backends, "_seconds", lambda name, routine, request: seconds[name])

    def chosen(routine="potrs", **changes):
        return backends.choose(routine, request(**changes)).name

    installed(*VENDORS)
    assert chosen() == "cusolvermp"
    assert "tiled 2 s, cusolvermg 1 s, cusolvermp 0.5 s" in backends.choose("potrs", request())[1]
    assert chosen("potri") == "cusolvermg"  # cuSOLVERMp has no inverse,
    assert chosen("syevd") == "cusolvermg"  # and is not trusted with eigenvectors.
    assert chosen("syevd", processes=4) == chosen("solve_triangular") == "tiled"
    installed("cusolvermg")
    assert chosen() == "cusolvermg" and chosen(processes=2) == "tiled"
    installed()
    assert chosen() == "tiled"


@pytest.mark.parametrize("shape", [(30, 30), (40, 30), (3000, 30), (30, 40)])
def test_matrices_of_any_shape_have_a_backend_on_gpus(make_mesh, installed, monkeypatch, shape):
    """Requests pass the checks of vendors' cost models, which are evaluated on GPUs only."""
    installed(*VENDORS)
    choose, asked = backends.choose, set()

    def choose_on_gpus(routine, of, backend="auto"):
        asked.add(routine)
        for ranks in (1, 4):
            choose(routine, dataclasses.replace(of, platform="gpu", ranks=ranks), backend)
        return choose(routine, of, backend)

    monkeypatch.setattr(backends, "choose", choose_on_gpus)
    a = put(gaussian(shape), make_mesh(2))
    b = put(gaussian(shape[:1]), make_mesh(2))
    linalg.qr(a, mode="r")
    linalg.qr(a)
    linalg.lstsq(a, b, method="qr")
    linalg.lstsq(a, b, method="svd")
    linalg.pinv(a)
    linalg.svdvals(a)
    linalg.polar(a)
    assert asked == {"geqrf", "orgqr", "gels", "gesvd", "polar"}


@pytest.mark.parametrize("n", [1024, 8192, 65536])
def test_grid_of_ranks_is_faster_on_many_hosts(installed, n):
    """A panel is broadcast along a row or column of the grid, not to all ranks."""
    many = request(n=n, ranks=64, processes=64, hosts=8)
    installed(*VENDORS)
    assert backends.choose("cho_factor", request(n=n)).name == "tiled"
    choice = backends.choose("cho_factor", many)
    assert choice.name == "cusolvermp" and "planner's model: tiled" in choice.reason
    installed("cusolvermg")
    assert backends.choose("cho_factor", many).name == "tiled"


def test_a_little_faster_is_not_enough(installed, monkeypatch):
    installed(*VENDORS)
    seconds = {"tiled": 1.0, "cusolvermg": 0.9, "cusolvermp": 2.0}
    monkeypatch.setattr(backends, "_seconds", lambda name, routine, request: seconds[name])
    choice = backends.choose("potrs", request())
    assert choice.name == "tiled" and "tiled 1 s, cusolvermg 0.9 s" in choice.reason


def test_plan_reports_backend_and_reason(make_mesh, on_cpu):
    plan = jaxmg.plan("potrs", (64, 64), "float64", make_mesh(4))
    assert (plan.backend, plan.reason) == ("tiled", "no other backend serves this call")
    assert "with tiled (no other backend serves this call)" in str(plan)
    assert jaxmg.plan("syevd", (64, 64), "float64", 2, backend="tiled").reason == "requested"
    with pytest.raises(ValueError, match="backend='cusolvermp' .*cannot be used"):
        jaxmg.plan("potrs", (64, 64), "float64", make_mesh(4), backend="cusolvermp")


# --- the vendors' libraries ---------------------------------------------------------------------


@pytest.fixture(params=VENDORS)
def vendor(request):
    """A backend that is available here."""
    found = {backend.name: backend for backend in jaxmg.backends()}[request.param]
    if not found.available:
        pytest.skip(f"{found.name}: {found.reason}")
    return found


def test_cusolvermg_has_a_model():
    """The model comes from the same measurements as the numbers in the README."""
    mg, ours = (
        backends._seconds(name, "potrs", request(n=32768)) for name in ("cusolvermg", "tiled")
    )
    assert mg == pytest.approx(0.231, rel=0.25) and mg > 1.5 * ours


@pytest.mark.gpu
@pytest.mark.parametrize(("ranks", "dtype"), RANKS_AND_DTYPES)
def test_cholesky_of_a_vendor(make_mesh, ranks, vendor, dtype):
    """Sizes that are multiples of the tile or not, few and many right-hand sides."""
    mesh = make_mesh(ranks)
    for n, nrhs, tile in ((600, 1, None), (777, 3, 50), (512, 130, 64)):
        a, b = positive_definite(n, dtype), gaussian((n, nrhs), dtype)
        on_mesh, rhs = put(a, mesh, "x", None), put(b, mesh)
        options = dict(backend=vendor.name, tile=tile)
        assert_solves(a, linalg.solve(on_mesh, rhs, assume_a="pos", **options), b)
        made = linalg.cho_factor(on_mesh, **options)
        assert_factor(a, made.lower())
        assert_solves(a, linalg.cho_solve(made, rhs, backend="tiled"), b)
        if "cho_solve" in vendor.routines:
            ours = linalg.cho_factor(on_mesh, tile=tile, backend="tiled")
            assert_solves(a, linalg.cho_solve(ours, rhs, backend=vendor.name), b)
        if "potri" in vendor.routines:
            assert_inverse(a, linalg.inv(on_mesh, assume_a="pos", **options))


@pytest.mark.gpu
@pytest.mark.parametrize(("ranks", "dtype"), RANKS_AND_DTYPES)
def test_lu_of_a_vendor(make_mesh, ranks, vendor, dtype):
    mesh = make_mesh(ranks)
    for n, nrhs, tile in ((600, 1, None), (777, 3, 50), (512, 130, 64)):
        a, b = gaussian((n, n), dtype), gaussian((n, nrhs), dtype)
        on_mesh, rhs = put(a, mesh, "x", None), put(b, mesh)
        assert_solves(a, linalg.solve(on_mesh, rhs, backend=vendor.name, tile=tile), b)
    a[:, 40] = 0
    x, info = linalg.solve(put(a, mesh, "x", None), rhs, backend=vendor.name, return_info=True)
    assert info == 41 and not np.isfinite(x).any()


@pytest.mark.gpu
@pytest.mark.parametrize(("ranks", "dtype"), RANKS_AND_DTYPES)
@pytest.mark.filterwarnings("ignore:.*wrong eigenvectors")
def test_eigenvalues_of_a_vendor(make_mesh, ranks, vendor, dtype):
    mesh = make_mesh(ranks)
    for n in (128, 333):
        a = hermitian(n, dtype)
        w, v = linalg.eigh(put(a, mesh, "x", None), backend=vendor.name)
        assert_eigen(a, w, v)
        assert_eigenvalues(a, linalg.eigvalsh(put(a, mesh, "x", None), backend=vendor.name))
        last = linalg.eigh(
            put(a, mesh, "x", None), subset_by_index=(n - 3, n - 1), backend=vendor.name
        )
        np.testing.assert_allclose(last.eigenvalues, w[-3:], rtol=1e-3)


@pytest.mark.gpu
def test_failure_of_a_vendor(make_mesh, ranks, vendor):
    a = positive_definite(200)
    a[120, 120] = -1
    options = dict(backend=vendor.name, return_info=True, assume_a="pos")
    x, info = linalg.solve(put(a, make_mesh(ranks), "x", None), np.ones(200), **options)
    assert info == 121 and np.isnan(x).all()


@pytest.mark.gpu
@pytest.mark.parametrize("assume_a", ["pos", "gen"])
def test_a_vendor_inside_jit_and_derivatives(make_mesh, ranks, vendor, assume_a):
    mesh = make_mesh(ranks)
    a, b = put(positive_definite(160), mesh, "x", None), put(gaussian((160,)), mesh)

    def loss(a, b, backend):
        return (linalg.solve(a, b, assume_a=assume_a, backend=backend) ** 2).sum()

    theirs, ours = (
        jax.jit(jax.grad(loss), static_argnums=2)(a, b, name) for name in (vendor.name, "tiled")
    )
    np.testing.assert_allclose(theirs, ours, rtol=1e-9, atol=1e-9)


@pytest.mark.gpu
def test_workspace_of_a_vendor(make_mesh, vendor):
    plan = jaxmg.plan("potrs", (2048, 2048), "float64", make_mesh(1), backend=vendor.name)
    assert plan.backend == vendor.name and plan.reason == "requested"
    with pytest.raises(ValueError, match="workspace"):
        limit = dict(backend=vendor.name, workspace_limit=1000)
        jaxmg.plan("potrs", (2048, 2048), "float64", make_mesh(1), **limit)


# --- the list of backends -----------------------------------------------------------------------


def test_list_of_backends(on_cpu):
    tiled, *vendors = jaxmg.backends()
    assert tiled.available and tiled.version == jaxmg.__version__ and tiled.reason is None
    assert str(tiled).startswith(f"tiled {jaxmg.__version__}: potrs")
    assert [backend.name for backend in vendors] == list(VENDORS)
    for backend in vendors:
        assert not backend.available and backend.version is None
        assert str(backend) == f"{backend.name}: not available: JAX finds no GPU"
    with pytest.raises(dataclasses.FrozenInstanceError):
        tiled.name = "ours"
