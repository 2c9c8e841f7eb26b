"""Results of every function and its gradient in each debugging and numerics mode of JAX."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxmg import linalg, potri, potrs, syevd
from systems import ROWS, gaussian, positive_definite, put

N = 7  # The shards of two devices are uneven, where a function allows that.
EVEN = 8  # 0.0.x has matrices that divide.


def spectral(w, v):
    """Return what does not depend on the phases of eigenvectors."""
    return w, (v * w[None]) @ v.conj().T


FUNCTIONS = {
    "solve": lambda a, b: linalg.solve(a, b, assume_a="pos"),
    "cho_solve": lambda a, b: linalg.cho_solve(linalg.cho_factor(a), b),
    "cho_factor_shifted": lambda a, b: linalg.cho_factor_shifted(a)[0].solve(b),
    "cho_factor_shifted-shift": lambda a, b: linalg.cho_factor_shifted(a, shift=0.5)[0].solve(b),
    "solve_triangular": lambda a, b: linalg.solve_triangular(linalg.cho_factor(a), b),
    "general": linalg.solve,
    "lu_solve": lambda a, b: linalg.lu_solve(linalg.lu_factor(a), b, trans=2),
    "det": lambda a, b: linalg.det(a),
    "inv": lambda a, b: linalg.inv(a, assume_a="pos"),
    "cholesky": lambda a, b: linalg.cholesky(a),
    "logdet": lambda a, b: linalg.logdet(a),
    "slogdet": lambda a, b: tuple(linalg.slogdet(a, assume_a="pos")),
    "eigh": lambda a, b: spectral(*linalg.eigh(a)),
    "eigh-index": lambda a, b: spectral(*linalg.eigh(a, subset_by_index=(1, 3))),
    # As many as there are: missing eigenvalues are NaN.
    "eigh-value": lambda a, b: spectral(*linalg.eigh(a, subset_by_value=(0, 99), size=N)[:2]),
    "eigvalsh": lambda a, b: linalg.eigvalsh(a),
    "eigvalsh-value": lambda a, b: linalg.eigvalsh(a, subset_by_value=(0, 99), size=N)[0],
    "pinvh": lambda a, b: linalg.pinvh(a),
    "pinvh-rtol": lambda a, b: linalg.pinvh(a, rtol=1e-3),
    "sqrtm_h": lambda a, b: linalg.sqrtm_h(a),
    "potrs": lambda a, b: potrs(a, b, 4, mesh(), (P("x", None), P(None, None))),
    "potri": lambda a, b: potri(a, 4, mesh(), P("x", None)),
    "syevd": lambda a, b: syevd(a, 4, mesh(), P("x", None), return_eigenvectors=False),
}
# Scalars of the caller matter to transfer guards alone.
WITH_SCALARS = [name for name in FUNCTIONS if name.endswith(("-shift", "-value", "-rtol"))]
GUARDS = {
    "transfer_guard": jax.transfer_guard,
    "transfer_guard_host_to_device": jax.transfer_guard_host_to_device,
    "transfer_guard_device_to_device": jax.transfer_guard_device_to_device,
    "transfer_guard_device_to_host": jax.transfer_guard_device_to_host,
}
# Independent modes are set together, because each row compiles everything anew.
OPTIONS = (
    {"jax_debug_nans": True},
    {"jax_disable_jit": True},
    {"jax_numpy_dtype_promotion": "strict", "jax_numpy_rank_promotion": "raise"},
    {
        "jax_enable_checks": True,
        "jax_check_tracer_leaks": True,
        "jax_threefry_partitionable": False,
        "jax_default_matmul_precision": "bfloat16",
    },
    {"jax_enable_x64": False},
)
# Gradients that take seconds without jit, as JAX compiles each operation by itself.
SLOW_WITHOUT_JIT = (
    "solve_triangular",
    "det",
    "inv",
    "cholesky",
    "eigh",
    "eigh-index",
    "pinvh",
    "sqrtm_h",
)


@contextlib.contextmanager
def configured(options):
    before = {name: getattr(jax.config, name) for name in options}
    try:
        for name, value in options.items():
            jax.config.update(name, value)
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


@functools.cache
def mesh():
    return Mesh(np.array(jax.devices()[:2]), ("x",))


@functools.cache
def system(n, dtype):
    a, b = positive_definite(n, dtype), gaussian((n, 2), dtype, seed=1)
    return put(a, mesh(), *ROWS), put(b, mesh())


def outcome(name, dtype="float64", mode=None, gradient=True):
    """Return the results of a function in a mode: by itself, below vjp, and the gradient."""
    a, b = system(EVEN if name in ("potrs", "potri", "syevd") else N, dtype)
    with mode or contextlib.nullcontext():
        results = [jax.block_until_ready(FUNCTIONS[name](a, b))]
        if gradient:
            result, pull_back = jax.vjp(lambda a: FUNCTIONS[name](a, b), a)
            # As a cotangent, the result is in place already.
            results += [result, pull_back(result)]
        jax.block_until_ready(results)
    return [jax.tree.map(np.asarray, result) for result in results]


expected = functools.cache(outcome)


def check(name, results, rtol=1e-11):
    for result, known in zip(results, expected(name), strict=False):
        for x, y in zip(*map(jax.tree.leaves, (result, known)), strict=True):
            np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol * abs(y).max())


@pytest.fixture(autouse=True)
def two_devices():
    if len(jax.devices()) < 2:
        pytest.skip("needs 2 devices")


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("guard", GUARDS)
def test_nothing_is_transferred_implicitly(guard, name):
    # Below vjp, JAX moves the scalar itself, which the guard refuses for jnp.linalg.pinv, too.
    refused = name in WITH_SCALARS
    if jax.__version_info__ < (0, 10, 2):  # JAX moves a zero there, the tangent of the sign.
        refused |= name == "slogdet"
    check(name, outcome(name, mode=GUARDS[guard]("disallow"), gradient=not refused))


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in WITH_SCALARS])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options))
def test_options_change_no_result(options, name):
    single = "jax_enable_x64" in options
    gradient = "jax_disable_jit" not in options or name not in SLOW_WITHOUT_JIT
    dtype = "float32" if single else "float64"
    results = outcome(name, dtype, configured(options), gradient)
    check(name, results, rtol=1e-3 if single else 1e-11)


def test_debug_nans_reports_a_failure_as_for_jnp():
    a = put(-np.eye(9), mesh(), *ROWS)  # An order that no test has compiled without the mode.
    with configured({"jax_debug_nans": True}):
        for cholesky in (jnp.linalg.cholesky, linalg.cholesky):
            with pytest.raises(FloatingPointError, match="nan"):
                jax.block_until_ready(cholesky(a))
