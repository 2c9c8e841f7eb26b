"""potri, potri_shardmap_ctx and potri_symmetrize, as called by existing code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from jaxmg import linalg, potri, potri_shardmap_ctx, potri_symmetrize, potrs
from systems import (
    DTYPES,
    ROWS,
    assert_inverse,
    assert_solves,
    gaussian,
    pairwise,
    positive_definite,
    put,
    set_mesh,
    spelled,
)

N = 12
A = positive_definite(N)


def check(x, mesh):
    assert_inverse(A, x)
    assert x.sharding.is_equivalent_to(put(A, mesh, "x", None).sharding, 2)


@pytest.mark.parametrize(("specs", "axis_type", "jit"), pairwise([ROWS, (ROWS,), [ROWS]]))
def test_forms_of_in_specs(make_mesh, axis_type, specs, jit):
    mesh = make_mesh(4, axis_type=axis_type)

    def call(a):
        return potri(a, 3, mesh, specs)

    check((jax.jit(call) if jit else call)(put(A, mesh, "x", None)), mesh)


def test_optional_arguments(make_mesh, axis_type):
    mesh = make_mesh(4, axis_type=axis_type)
    a = put(A, mesh, "x", None)
    check(potri(a), mesh)
    check(potri(a, in_specs=ROWS), mesh)
    x, status = potri(a, 3, mesh, ROWS, True, False)
    check(x, mesh)
    assert status.shape == () and status.dtype == np.int32 and status == 0


@pytest.mark.numerics
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(make_mesh, dtype):
    a = positive_definite(13, dtype)
    x, status = potri(put(a, make_mesh(3)), 2, make_mesh(3), ROWS, return_status=True)
    assert_inverse(a, x)
    assert status == 0


@pytest.mark.parametrize("where", ["numpy", "columns", "replicated"])
def test_a_is_moved_to_in_specs(make_mesh, where):
    mesh = make_mesh(4)
    a = {"numpy": A, "columns": put(A, mesh, None, "x"), "replicated": put(A, mesh)}[where]
    check(potri(a, 3, mesh, ROWS), mesh)
    check(jax.jit(lambda: potri(a, 3, mesh, ROWS))(), mesh)


def test_ragged_on_the_host(make_mesh):
    a, b = positive_definite(13), gaussian((13,))
    mesh = make_mesh(4)
    assert_inverse(a, potri(a, 3, mesh, ROWS))
    assert_solves(a, potrs(a, b, 3, mesh, ROWS), b)
    with set_mesh(mesh):
        factor = linalg.cho_factor(a)
        assert factor.ranks == 4
        assert_solves(a, factor.solve(b), b)
        assert_inverse(a, linalg.inv(a, assume_a="pos"))
        np.testing.assert_array_equal(potri_symmetrize(a), np.triu(a) + np.triu(a, 1).T)
        assert linalg.cho_factor_shifted(-a, shift=1e3)[0].info == 0


def test_abstract_mesh(make_mesh, axis_type):
    mesh = make_mesh(4, axis_type=axis_type)
    with set_mesh(mesh):
        call = jax.jit(lambda a: potri(a, 3, jax.sharding.get_abstract_mesh(), ROWS))
        check(call(put(A, mesh, "x", None)), mesh)


def test_failure(make_mesh, ranks):
    mesh = make_mesh(ranks)
    a = np.diag(np.arange(1.0, N + 1))
    a[0, 1] = 2
    x, status = potri(put(a, mesh, "x", None), 3, mesh, ROWS, return_status=True)
    assert np.isnan(x).all() and status == 7


def test_wrong_calls(make_mesh):
    mesh = make_mesh(2)
    with pytest.raises(ValueError, match="in_specs must be a single PartitionSpec"):
        potri(A, 2, mesh, (ROWS, P()))
    of_rows = "A must be sharded along the rows with PartitionSpec P(str, None)"
    with pytest.raises(ValueError, match="^" + spelled(of_rows)):
        potri(A, 2, mesh, P(None, "x"))
    of_type = "in_specs must be a PartitionSpec or a 1-element list/tuple containing one"
    with pytest.raises(TypeError, match="^" + spelled(of_type)):
        potri(A, 2, mesh, "x")
    with pytest.raises(AssertionError, match="2D array"):
        potri(A[0], 2, mesh, ROWS)
    with pytest.raises(ValueError, match="T_A must be at least 1"):
        potri(A, 0, mesh, ROWS)


@pytest.mark.parametrize(
    ("spec", "axis_type", "jit"), pairwise([P("x", "y"), P(None, "x"), P("y", None), P()])
)
def test_matrix_specs(make_mesh, axis_type, spec, jit):
    mesh = make_mesh(2, 2, axis_type=axis_type)

    def call(a):
        return potri(a, 3, mesh, matrix_specs=spec)

    x = (jax.jit(call) if jit else call)(put(A, mesh, "x", None))
    assert_inverse(A, x)
    if len(spec) or not jit:  # XLA of JAX 0.6 may shard what is to be replicated.
        assert x.sharding.is_equivalent_to(put(A, mesh, *spec).sharding, 2)


# --- on global arrays, as in 1.4 --------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "axis_type", "jit"),
    pairwise([("x", None), (None, "y"), ("x", "y"), (("x", "y"), None), ()]),
)
def test_ctx_on_global_arrays(make_mesh, axis_type, jit, spec):
    mesh = make_mesh(2, 2, axis_type=axis_type)
    a = put(A, mesh, *spec)

    def call(a):
        return potri_shardmap_ctx(a, T_A=3, mesh=mesh, matrix_specs=P(*spec))

    for _ in range(2):  # Nothing was donated.
        x, status = (jax.jit(call) if jit else call)(a)
    assert_inverse(A, x)
    if len(spec) or not jit:  # XLA of JAX 0.6 may shard what is to be replicated.
        assert x.sharding.is_equivalent_to(a.sharding, 2)
    assert status.shape == () and status.dtype == np.int32 and status == 0
    with set_mesh(mesh):
        assert_inverse(A, (jax.jit(potri_shardmap_ctx) if jit else potri_shardmap_ctx)(a)[0])


def test_ctx_failure_on_global_arrays(make_mesh):
    x, status = potri_shardmap_ctx(put(-A, make_mesh(4), "x", None), 3)
    assert np.isnan(x).all() and status == 7


# --- inside shard_map -------------------------------------------------------------------------


def in_shard_map(mesh, a, spec=ROWS, **options):
    call = jax.shard_map(
        lambda a: potri_shardmap_ctx(a, 3, **options),
        mesh=mesh,
        in_specs=spec,
        out_specs=(spec, P(None)),
    )
    return jax.jit(call, donate_argnums=0)(put(a, mesh, *spec))


def test_shardmap_ctx(make_mesh, axis_type):
    for ranks in (1, 3, 4):
        x, status = in_shard_map(make_mesh(ranks, axis_type=axis_type), A, pad=False)
        assert_inverse(A, x)
        assert status.shape == (1,) and status.dtype == np.int32 and status[0] == 0
    assert_inverse(A, in_shard_map(make_mesh(4, 2), A, P("y", None))[0])


def test_shardmap_ctx_failure(make_mesh):
    x, status = in_shard_map(make_mesh(4), -A)
    assert np.isnan(x).all() and status.tolist() == [7]


def test_shardmap_ctx_wrong_calls():
    with pytest.raises(ValueError, match="axis_name is for calls inside shard_map"):
        potri_shardmap_ctx(jnp.asarray(A), 3, axis_name="x")
    with pytest.raises(ValueError, match="a must be a 2D array"):
        potri_shardmap_ctx(jnp.ones(N), 3)


@pytest.mark.numerics
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("n", [12, 7])
def test_symmetrize(make_mesh, axis_type, dtype, n):
    a = gaussian((n, n), dtype)
    expected = np.triu(a, 1) + np.diag(np.diag(a).real) + np.triu(a, 1).conj().T
    on = put(a, make_mesh(4, axis_type=axis_type), "x", None)
    for call in (potri_symmetrize, jax.jit(potri_symmetrize)):
        np.testing.assert_array_equal(call(on), expected)
    assert potri_symmetrize(on).sharding.is_equivalent_to(on.sharding, 2)
    np.testing.assert_array_equal(potri_symmetrize(a), expected)
