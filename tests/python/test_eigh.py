"""jaxmg.linalg.eigh and eigvalsh: residuals for all device counts, dtypes, sizes and subsets."""

import jax
import jax.numpy as jnp
import jaxmg
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jaxmg import linalg
from systems import (
    RANKS_AND_DTYPES,
    assert_eigen,
    assert_eigenvalues,
    gaussian,
    hermitian,
    positive_definite,
    put,
    set_mesh,
)

N = 24
A = hermitian(N)
SPECTRUM = np.linalg.eigvalsh(A)


@pytest.fixture
def on_mesh(make_mesh):
    return put(A, make_mesh(4), "x", None)


# --- all of the spectrum ----------------------------------------------------------------------


@pytest.mark.parametrize(("ranks", "dtype"), RANKS_AND_DTYPES)
def test_dtypes(make_mesh, ranks, dtype):
    a = hermitian(40, dtype)
    w, v, info = linalg.eigh(put(a, make_mesh(ranks), "x", None), return_info=True)
    assert_eigen(a, w, v)
    assert_eigenvalues(a, w)
    assert info.dtype == np.int32 and info.shape == () and info == 0


@pytest.mark.parametrize("n", [1, 2, 3, 9])
@pytest.mark.parametrize("ranks", [1, 3, 8])
def test_ragged_and_tiny(make_mesh, ranks, n):
    a = hermitian(n, "complex128")
    on = put(a, make_mesh(ranks), "x", None)
    assert_eigen(a, *linalg.eigh(on))
    assert_eigenvalues(a, linalg.eigvalsh(on))


@pytest.mark.parametrize("ranks", [1, 4])
def test_several_tiles_and_panels(make_mesh, ranks):
    a = hermitian(200)
    on = put(a, make_mesh(ranks), "x", None)
    assert_eigen(a, *linalg.eigh(on, tile=16))
    assert_eigenvalues(a, linalg.eigvalsh(on, tile=16))


@pytest.mark.parametrize("tile", [1, 5, 1000])
def test_tile_is_a_hint(make_mesh, tile):
    a = hermitian(31, "complex64")
    assert_eigen(a, *linalg.eigh(put(a, make_mesh(3), "x", None), tile=tile))


def wilkinson(n):
    return np.diag(abs(np.arange(n) - n // 2).astype(float)) + np.eye(n, k=1) + np.eye(n, k=-1)


def of_spectrum(w, seed=0):
    q, _ = np.linalg.qr(gaussian((len(w), len(w)), seed=seed))
    a = (q * w) @ q.T
    return (a + a.T) / 2


ONE_COLUMN = gaussian((48, 1))
HARD = {
    "zero": np.zeros((48, 48)),
    "identity": np.eye(48),
    "diagonal": np.diag(np.arange(48.0)[::-1]),
    "Wilkinson": wilkinson(48),
    "glued Wilkinson": np.kron(np.eye(3), wilkinson(16)) + 1e-8 * np.eye(48, k=1),
    "Toeplitz": 2 * np.eye(48) + np.eye(48, k=1) + np.eye(48, k=-1),
    "graded": of_spectrum(np.logspace(-12, 12, 48)),
    "clustered": of_spectrum(1 + 1e-15 * np.arange(48)),
    "repeated": of_spectrum(np.repeat([-1.0, 2.0, 5.0], 16)),
    "rank one": ONE_COLUMN @ ONE_COLUMN.T,
    "huge off-diagonal": np.eye(48) + 1e12 * np.eye(48, k=20) + 1e12 * np.eye(48, k=-20),
    "near underflow": 1e-300 * hermitian(48),
    "near overflow": 1e300 * hermitian(48),
}


@pytest.mark.parametrize("name", HARD)
def test_hard_matrices(make_mesh, name):
    a = np.tril(HARD[name]) + np.tril(HARD[name], -1).T
    w, v = linalg.eigh(put(a, make_mesh(4), "x", None))
    scale = np.abs(a).max() or 1.0
    assert_eigen(a / scale, np.asarray(w) / scale, v)
    assert_eigenvalues(a / scale, np.asarray(w) / scale)


@pytest.mark.parametrize(
    ("UPLO", "dtype"), [("L", "complex64"), ("U", "complex128"), (None, "float64")]
)
def test_one_triangle_is_read(make_mesh, UPLO, dtype):
    a, b = hermitian(15, dtype), positive_definite(15, dtype)
    keep = np.tril if UPLO == "L" else np.triu
    hidden = np.where(keep(np.ones((15, 15))) == 0, np.nan, 1)
    on, b_on = (put((m * hidden).astype(dtype), make_mesh(3), "x", None) for m in (a, b))
    assert_eigen(a, *linalg.eigh(on, UPLO=UPLO))
    assert_eigen(a, *linalg.eigh(on, b_on, UPLO=UPLO), b)
    assert_eigenvalues(a, linalg.eigvalsh(on, UPLO=UPLO))


def test_like_jax_numpy(on_mesh):
    made, known = linalg.eigh(on_mesh), jnp.linalg.eigh(A)
    assert made._fields == ("eigenvalues", "eigenvectors")
    np.testing.assert_allclose(made.eigenvalues, known.eigenvalues, atol=1e-12)
    # For separated eigenvalues, eigenvectors agree up to the sign.
    np.testing.assert_allclose(
        abs(np.asarray(made.eigenvectors)), abs(np.asarray(known.eigenvectors)), atol=1e-10
    )


def test_same_input_same_bits(make_mesh):
    a = put(hermitian(100), make_mesh(4), "x", None)
    first, second = linalg.eigh(a), linalg.eigh(a)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_empty(make_mesh):
    w, v, info = linalg.eigh(put(np.zeros((0, 0)), make_mesh(2)), return_info=True)
    assert w.shape == (0,) and v.shape == (0, 0) and info == 0
    assert linalg.eigvalsh(np.zeros((0, 0))).shape == (0,)


def test_without_x64(make_mesh):
    a = hermitian(20, "float32")
    jax.config.update("jax_enable_x64", False)
    try:
        on = put(a, make_mesh(2), "x", None)
        w, v, count, info = linalg.eigh(on, subset_by_value=(-1e3, 1e3), return_info=True)
        assert info.dtype == np.int32 and count.dtype == np.int32
    finally:
        jax.config.update("jax_enable_x64", True)
    assert_eigen(a, w, v)


# --- placement --------------------------------------------------------------------------------


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize(
    ("shape", "spec"), [((4,), ("x", None)), ((4,), (None, "x")), ((2, 2), ("x", "y")), ((3,), ())]
)
def test_shardings(make_mesh, axis_type, shape, spec, jit):
    mesh = make_mesh(*shape, axis_type=axis_type)
    a = put(A, mesh, *spec)
    with set_mesh(mesh):
        w, v = (jax.jit(linalg.eigh) if jit else linalg.eigh)(a)
    assert_eigen(A, w, v)
    assert w.sharding.is_fully_replicated
    axes = tuple(axis for axis in spec if axis) or "x"
    assert v.sharding.is_equivalent_to(NamedSharding(mesh, P(None, axes)), 2)


def test_one_device(devices):
    assert_eigen(A, *linalg.eigh(A))
    w, v = jax.jit(linalg.eigh)(jax.device_put(A, devices[-1]))
    assert_eigen(A, w, v)
    assert v.devices() == {devices[-1]}


def test_donated(make_mesh):
    a = put(A, make_mesh(4), "x", None)
    assert_eigen(A, *linalg.eigh(a, donate=True))
    assert a.is_deleted()


@pytest.mark.parametrize("ranks", [1, 4])
@pytest.mark.parametrize("donate", [False, True])
def test_memory_agrees_with_the_plan(make_mesh, ranks, donate):
    n = 64
    a = put(hermitian(n), make_mesh(ranks), "x", None)
    solve = jax.jit(linalg.eigh, donate_argnums=(0,) if donate else ())
    memory = solve.lower(a).compile().memory_analysis()
    needed = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )
    plan = jaxmg.plan("syevd", (n, n), a.dtype, ranks)
    # In addition to the plan, the call needs eigenvalues, its roll and scalars.
    assert needed <= plan.total_bytes + (not donate) * plan.shard_bytes + 8 * n + 4096


def test_argument_is_not_overwritten(on_mesh):
    w, v = jax.jit(lambda a: (linalg.eigvalsh(a), a @ linalg.eigh(a)[1]))(on_mesh)
    linalg.eigh(on_mesh)
    np.testing.assert_array_equal(on_mesh, A)
    np.testing.assert_allclose(np.linalg.norm(v, axis=0), abs(w), rtol=1e-10)


def test_in_a_loop_and_a_branch(on_mesh):
    def halve(_, a):
        w, v = linalg.eigh(a)
        return (v * (w / 2)) @ v.T

    @jax.jit
    def run(a, wanted):
        half = jax.lax.fori_loop(0, 3, halve, a)
        return half, jax.lax.cond(wanted, linalg.eigvalsh, lambda a: jnp.zeros(N), half)

    half, w = run(on_mesh, True)
    np.testing.assert_allclose(half, A / 8, atol=1e-12)
    np.testing.assert_allclose(w, SPECTRUM / 8, atol=1e-12)
    assert not np.any(run(on_mesh, False)[1])


def test_vmap(make_mesh):
    stack = np.stack([hermitian(9, seed=seed) for seed in range(3)])
    on = put(stack, make_mesh(3), None, "x", None)
    w, v = jax.jit(jax.vmap(linalg.eigh))(on)
    for one, w_one, v_one in zip(stack, w, v, strict=True):
        assert_eigen(one, w_one, v_one)
    b = positive_definite(9)
    w, v = jax.vmap(linalg.eigh, in_axes=(0, None))(on, b)
    for one, w_one, v_one in zip(stack, w, v, strict=True):
        assert_eigen(one, w_one, v_one, b)


# --- subsets of the spectrum ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "part"),
    [("float64", (0, 0)), ("complex64", (3, 10)), ("float64", (20, 23)), ("complex128", (0, 23))],
)
def test_by_index(make_mesh, axis_type, dtype, part):
    a, mesh = hermitian(N, dtype), make_mesh(4, axis_type=axis_type)
    w, v = linalg.eigh(put(a, mesh, "x", None), subset_by_index=part)
    size = part[1] - part[0] + 1
    assert v.shape == (N, size)
    assert_eigen(a, w, v)
    assert_eigenvalues(a, w, slice(part[0], part[1] + 1))
    if size % 4 == 0:
        assert v.sharding.is_equivalent_to(NamedSharding(mesh, P(None, "x")), 2)
    assert_eigenvalues(
        a,
        linalg.eigvalsh(put(a, mesh, "x", None), subset_by_index=part),
        slice(part[0], part[1] + 1),
    )


def between(low, high):
    return SPECTRUM[(SPECTRUM > low) & (SPECTRUM <= high)]


def test_by_value(make_mesh, axis_type):
    a = put(A, make_mesh(4, axis_type=axis_type), "x", None)

    @jax.jit
    def run(a, low, high):
        return linalg.eigh(a, subset_by_value=(low, high), size=10, return_info=True)

    gap = (SPECTRUM[1:] + SPECTRUM[:-1]) / 2
    for low, high in [(gap[3], gap[8]), (gap[0], gap[10]), (gap[20], 1e9), (-1e9, -1e8)]:
        w, v, count, info = map(np.asarray, run(a, low, high))
        known = between(low, high)
        assert count == len(known) and info == 0
        assert w.shape == (10,) and v.shape == (N, 10)
        np.testing.assert_allclose(w[: len(known)], known, atol=1e-12)
        assert np.isnan(w[len(known) :]).all() and not np.any(v[:, len(known) :])
        if len(known):
            assert_eigen(A, w[: len(known)], v[:, : len(known)])


def test_the_interval_is_open_below_and_closed_above(on_mesh):
    known = np.asarray(linalg.eigh(on_mesh).eigenvalues)
    w, v, count = linalg.eigh(on_mesh, subset_by_value=(known[3], known[7]), size=6)
    np.testing.assert_array_equal(w, [*known[4:8], np.nan, np.nan])
    assert count == 4
    known = np.asarray(linalg.eigvalsh(on_mesh))
    w, count = linalg.eigvalsh(on_mesh, subset_by_value=(known[3], known[7]), size=4)
    np.testing.assert_array_equal(w, known[4:8])
    assert count == 4


@pytest.mark.all_cases
@pytest.mark.parametrize("bounds", [(-np.inf, 0.3), (0.3, np.inf), (-np.inf, np.inf)])
@pytest.mark.parametrize("size", [None, 5, 30])
def test_infinite_bounds(on_mesh, bounds, size):
    w, v, count = linalg.eigh(on_mesh, subset_by_value=bounds, size=size)
    known = between(*bounds)
    assert count == len(known)
    found = min(len(known), size or N)
    assert_eigen(A, w[:found], v[:, :found])
    np.testing.assert_allclose(w[:found], known[:found], atol=1e-12)
    values, same = linalg.eigvalsh(on_mesh, subset_by_value=bounds, size=size)
    np.testing.assert_allclose(values, w, atol=1e-12)
    assert same == count


def test_by_value_in_a_batch(make_mesh):
    stack = np.stack([hermitian(9, seed=seed) for seed in range(3)])
    on = put(stack, make_mesh(3), None, "x", None)
    lows = jnp.array([-1.0, 0.0, 0.5])

    def above(a, low):
        return linalg.eigh(a, subset_by_value=(low, np.inf), size=4)

    for bounds, axis in ((lows, 0), (lows[1], None)):
        w, v, count = jax.jit(jax.vmap(above, in_axes=(0, axis)))(on, bounds)
        for i, a in enumerate(stack):
            low = bounds[i] if axis == 0 else bounds
            known = np.linalg.eigvalsh(a)
            assert count[i] == np.sum(known > low)
            found = min(int(count[i]), 4)
            assert_eigen(a, w[i, :found], v[i, :, :found])
            np.testing.assert_allclose(w[i, :found], known[known > low][:found], atol=1e-12)


# --- the generalised problem ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranks", "n", "dtype"),
    [(1, 9, "float64"), (3, 22, "complex128"), (4, 24, "float32"), (8, 20, "complex64")],
)
def test_generalised(make_mesh, ranks, n, dtype):
    a, b = hermitian(n, dtype), positive_definite(n, dtype, seed=1)
    mesh = make_mesh(ranks)
    w, v = linalg.eigh(put(a, mesh, "x", None), put(b, mesh, "x", None))
    assert_eigen(a, w, v, b)
    values = linalg.eigvalsh(put(a, mesh, "x", None), b)
    np.testing.assert_allclose(values, w, atol=30 * n * np.finfo(dtype).eps * abs(w).max())


def test_part_of_a_generalised_problem(make_mesh, axis_type):
    b, mesh = positive_definite(N), make_mesh(4, axis_type=axis_type)
    on = put(A, mesh, "x", None), put(b, mesh, "x", None)
    known = linalg.eigvalsh(*on)
    w, v = linalg.eigh(*on, subset_by_index=(2, 9))
    assert_eigen(A, w, v, b)
    np.testing.assert_allclose(w, known[2:10], atol=1e-12)
    result = linalg.eigh(*on, subset_by_value=(0.0, np.inf), size=20)
    w, v, count = map(np.asarray, result)
    assert count == np.sum(np.asarray(known) > 0)
    assert_eigen(A, w[:count], v[:, :count], b)


def test_b_is_not_positive_definite(make_mesh):
    b = np.eye(N)
    b[6, 6] = -1
    mesh = make_mesh(4)
    *result, info = linalg.eigh(put(A, mesh, "x", None), put(b, mesh), return_info=True)
    assert info == N + 7
    assert all(np.isnan(x).all() for x in result)
    w, info = linalg.eigvalsh(put(A, mesh, "x", None), put(b, mesh), return_info=True)
    assert info == N + 7 and np.isnan(w).all()


@pytest.mark.parametrize(
    ("ranks", "n", "dtype"), [(1, 9, "float64"), (3, 22, "complex128"), (4, 24, "float32")]
)
def test_with_factor_of_b(make_mesh, ranks, n, dtype):
    a, b = hermitian(n, dtype), positive_definite(n, dtype, seed=1)
    mesh = make_mesh(ranks)
    a_on, factor = put(a, mesh, "x", None), linalg.cho_factor(put(b, mesh, "x", None))
    w, v, info = linalg.eigh(a_on, factor, return_info=True)
    assert_eigen(a, w, v, b)
    assert info == 0
    for values in (linalg.eigvalsh(a_on, factor), jax.jit(linalg.eigvalsh)(a_on, factor)):
        np.testing.assert_allclose(values, w, atol=30 * n * np.finfo(dtype).eps * abs(w).max())


def test_part_with_factor_of_b(make_mesh, axis_type):
    b, mesh = positive_definite(N), make_mesh(4, axis_type=axis_type)
    on, factor = put(A, mesh, "x", None), linalg.cho_factor(put(b, mesh, "x", None))
    w, v = linalg.eigh(on, factor, subset_by_index=(2, 9))
    assert_eigen(A, w, v, b)
    np.testing.assert_allclose(w, linalg.eigvalsh(on, b)[2:10], atol=1e-12)
    w, v, count = map(np.asarray, linalg.eigh(on, factor, subset_by_value=(0.0, np.inf), size=20))
    assert_eigen(A, w[:count], v[:, :count], b)


def test_one_triangle_is_read_with_factor_of_b(make_mesh):
    """UPLO is about a: the factor has no triangles to choose from."""
    b, mesh = positive_definite(N), make_mesh(3)
    factor = linalg.cho_factor(put(b, mesh, "x", None))
    hidden = np.where(np.tri(N) == 0, np.nan, A)
    assert_eigen(A, *linalg.eigh(put(hidden, mesh, "x", None), factor, UPLO="L"), b)


def test_factor_of_b_on_one_device(make_mesh):
    """Operands meet on the devices of the factor."""
    b = positive_definite(N)
    w, v = linalg.eigh(A, linalg.cho_factor(b))
    assert_eigen(A, w, v, b)
    factor = linalg.cho_factor(put(b, make_mesh(4), "x", None))
    assert_eigen(A, *linalg.eigh(A, factor), b)


def test_factor_is_of_another_order(on_mesh, make_mesh):
    factor = linalg.cho_factor(put(np.eye(8), make_mesh(4), "x", None))
    with pytest.raises(ValueError, match=r"b must be a factor of the shape \(24, 24\)"):
        linalg.eigh(on_mesh, factor)


def test_factor_of_b_failed(make_mesh):
    b = np.eye(N)
    b[6, 6] = -1
    mesh = make_mesh(4)
    factor = linalg.cho_factor(put(b, mesh, "x", None))
    *result, info = linalg.eigh(put(A, mesh, "x", None), factor, return_info=True)
    assert info == N + 7
    assert all(np.isnan(x).all() for x in result)


# --- failure ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "row", "column"), [(np.nan, 0, 0), (np.inf, 0, 23), (-np.inf, 12, 13)]
)
def test_not_finite(make_mesh, value, row, column):
    a = A.copy()
    a[row, column] = value
    mesh = make_mesh(4)
    w, v, info = linalg.eigh(put(a, mesh, "x", None), return_info=True)
    assert info == -4
    assert np.isnan(w).all() and np.isnan(v).all()
    w, info = linalg.eigvalsh(put(a, mesh, "x", None), return_info=True)
    assert info == -4 and np.isnan(w).all()
    w, v, count = linalg.eigh(put(a, mesh, "x", None), subset_by_value=(0, 1), size=3)
    assert count == 0 and np.isnan(w).all() and np.isnan(v).all()


def test_the_next_call_works(make_mesh):
    mesh = make_mesh(4)
    bad = np.full_like(A, np.nan)
    run = jax.jit(lambda bad, a: (linalg.eigh(bad), linalg.eigh(a)))
    for _ in range(2):
        failed, fine = run(put(bad, mesh, "x", None), put(A, mesh, "x", None))
        assert np.isnan(failed[0]).all() and np.isnan(failed[1]).all()
        assert_eigen(A, *fine)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((A[:, :3],), {}, ValueError, "square"),
        ((A.astype("float16"),), {}, TypeError, "a must have one of the dtypes"),
        ((A, A[:3, :3]), {}, ValueError, r"b must have the shape \(24, 24\)"),
        ((A, A.astype("float16")), {}, TypeError, "b must have one of the dtypes"),
        ((A,), {"UPLO": "X"}, ValueError, "UPLO must be one of"),
        ((A,), {"subset_by_index": (3, 2)}, ValueError, "subset_by_index must be"),
        ((A,), {"subset_by_index": (0, N)}, ValueError, "last < 24"),
        ((A,), {"subset_by_index": (-1, 2)}, ValueError, "subset_by_index must be"),
        ((A,), {"subset_by_value": (2.0, 2.0)}, ValueError, "low < high"),
        ((A,), {"subset_by_value": (0.0, 2.0), "size": 0}, ValueError, "size must be at least 1"),
        ((A,), {"size": 3}, ValueError, "size is"),
        (
            (A,),
            {"subset_by_value": (0.0, 2.0), "subset_by_index": (0, 2)},
            ValueError,
            "must not both be given",
        ),
        ((A,), {"backend": "x"}, ValueError, "backend must be one of"),
        ((A,), {"tile": 0}, ValueError, "tile must be at least 1"),
        ((A,), {"workspace_limit": 1}, ValueError, "workspace"),
    ],
)
def test_wrong_arguments(arguments, options, error, message):
    for function in (linalg.eigh, linalg.eigvalsh):
        with pytest.raises(error, match=message):
            function(*arguments, **options)
