"""syevd and syevd_shardmap_ctx, as called by code for JAXMg 0.0.x and 1.4."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jaxmg import JaxMgWarning, syevd, syevd_shardmap_ctx
from systems import (
    DTYPES,
    ROWS,
    assert_eigen,
    assert_eigenvalues,
    hermitian,
    pairwise,
    put,
    set_mesh,
    spelled,
)

N = 12
A = hermitian(N)


def check(w, v, mesh):
    assert_eigen(A, w, v)
    assert w.sharding.is_fully_replicated
    assert v.sharding.is_equivalent_to(NamedSharding(mesh, P(None, "x")), 2)


@pytest.mark.parametrize(("specs", "axis_type", "jit"), pairwise([ROWS, (ROWS,), [ROWS]]))
def test_forms_of_in_specs(make_mesh, axis_type, specs, jit):
    mesh = make_mesh(4, axis_type=axis_type)

    def call(a):
        return syevd(a, 3, mesh, specs)

    check(*(jax.jit(call) if jit else call)(put(A, mesh, "x", None)), mesh)


def test_returned_values(make_mesh, axis_type):
    mesh = make_mesh(4, axis_type=axis_type)
    a = put(A, mesh, "x", None)
    check(*syevd(a), mesh)
    check(*syevd(a, in_specs=ROWS), mesh)
    *result, status = syevd(a, 3, mesh, ROWS, True, True, False)
    check(*result, mesh)
    assert status.shape == () and status.dtype == np.int32 and status == 0
    w, status = syevd(a, 3, mesh, ROWS, return_eigenvectors=False, return_status=True)
    assert_eigenvalues(A, w)
    assert status == 0
    assert_eigenvalues(A, syevd(a, 3, mesh, ROWS, False))


@pytest.mark.numerics
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(make_mesh, dtype):
    a = hermitian(13, dtype)
    w, v, status = syevd(put(a, make_mesh(3)), 2, make_mesh(3), ROWS, return_status=True)
    assert_eigen(a, w, v)
    assert status == 0


@pytest.mark.parametrize("where", ["numpy", "columns", "replicated"])
def test_a_is_moved_to_in_specs(make_mesh, where):
    mesh = make_mesh(4)
    a = {"numpy": A, "columns": put(A, mesh, None, "x"), "replicated": put(A, mesh)}[where]
    check(*syevd(a, 3, mesh, ROWS), mesh)
    check(*jax.jit(lambda: syevd(a, 3, mesh, ROWS))(), mesh)


def test_as_netket_calls_it(make_mesh, axis_type):
    """An abstract mesh inside jit, T_A capped at 512, the largest eigenvalue last."""
    mesh = make_mesh(4, axis_type=axis_type)

    @jax.jit
    def call(a):
        mesh = jax.sharding.get_abstract_mesh()
        w, v = syevd(a, min(512, max(64, N // 4)), mesh, P("x", None))
        return w, v, w[-1]

    with set_mesh(mesh):
        w, v, largest = call(put(A, mesh, "x", None))
    check(w, v, mesh)
    assert largest == w.max()


def test_vectors_on_explicit_axes_multiply(make_mesh):
    mesh = make_mesh(4, axis_type="Explicit")
    a = put(A, mesh, "x", None)
    w, v = syevd(a, 3, mesh, ROWS)
    np.testing.assert_allclose(jax.jit(lambda v, w: v @ jnp.diag(w) @ v.T)(v, w), A, atol=1e-12)


@pytest.mark.numerics
def test_tile_sizes(make_mesh):
    mesh = make_mesh(4)
    a = put(A, mesh, "x", None)
    with pytest.warns(JaxMgWarning, match="^T_A has a maximum value of 1024"):
        check(*syevd(a, 1025, mesh, ROWS), mesh)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for tile in (1, 2, 5, 1024):
            check(*syevd(a, tile, mesh, ROWS), mesh)
    with pytest.raises(ValueError, match="T_A must be at least 1, got 0"):
        syevd(a, 0, mesh, ROWS)


def test_only_the_upper_triangle_is_read(make_mesh):
    mesh = make_mesh(3)
    garbage = np.triu(A) + np.tril(np.full_like(A, np.nan), -1)
    check(*syevd(put(garbage, mesh, "x", None), 2, mesh, ROWS), mesh)


def test_failure(make_mesh):
    mesh = make_mesh(4)
    a = A.copy()
    a[3, 5] = np.inf
    w, v, status = syevd(put(a, mesh, "x", None), 2, mesh, ROWS, return_status=True)
    assert status == 7 and status.dtype == np.int32 and status.shape == ()
    assert np.isnan(w).all() and np.isnan(v).all()
    w, status = syevd(put(a, mesh, "x", None), 2, mesh, ROWS, False, True)
    assert status == 7 and np.isnan(w).all()


def test_wrong_arguments(make_mesh):
    mesh = make_mesh(2)
    of_type = "in_specs must be a PartitionSpec or a 1-element list/tuple containing one"
    with pytest.raises(TypeError, match="^" + spelled(of_type)):
        syevd(A, 2, mesh, "x")
    too_many = "in_specs must be a single PartitionSpec or a 1-element list/tuple"
    with pytest.raises(ValueError, match="^" + spelled(too_many)):
        syevd(A, 2, mesh, (ROWS, P()))
    of_rows = "A must be sharded along the rows with PartitionSpec P(str, None)"
    with pytest.raises(ValueError, match="^" + spelled(of_rows)):
        syevd(A, 2, mesh, P(None, "x"))
    with pytest.raises(AssertionError, match="a must be a 2D array"):
        syevd(A[0], 2, mesh, ROWS)


@pytest.mark.parametrize(
    ("spec", "axis_type", "jit"), pairwise([P("x", "y"), P(None, "x"), P("y", None), P()])
)
def test_matrix_specs(make_mesh, axis_type, spec, jit):
    mesh = make_mesh(2, 2, axis_type=axis_type)

    def call(a):
        return syevd(a, 3, mesh, matrix_specs=spec)

    w, v = (jax.jit(call) if jit else call)(put(A, mesh, "x", None))
    assert_eigen(A, w, v)
    if len(spec) or not jit:  # XLA of JAX 0.6 may shard what is to be replicated.
        assert v.sharding.is_equivalent_to(put(A, mesh, *spec).sharding, 2)


# --- on global arrays, as in 1.4 --------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "axis_type", "jit"),
    pairwise([("x", None), (None, "y"), ("x", "y"), (("x", "y"), None), ()]),
)
def test_ctx_on_global_arrays(make_mesh, axis_type, jit, spec):
    mesh = make_mesh(2, 2, axis_type=axis_type)
    a = put(A, mesh, *spec)

    def call(a, **options):
        return syevd_shardmap_ctx(a, T_A=3, **options)

    run = jax.jit(call, static_argnames=("mesh", "matrix_specs")) if jit else call
    for _ in range(2):  # Nothing was donated.
        _, w, v, status = run(a, mesh=mesh, matrix_specs=P(*spec))
    assert_eigen(A, w, v)
    assert w.sharding.is_fully_replicated
    if len(spec) or not jit:  # XLA of JAX 0.6 may shard what is to be replicated.
        assert v.sharding.is_equivalent_to(a.sharding, 2)
    assert status.shape == () and status.dtype == np.int32 and status == 0
    with set_mesh(mesh):
        assert_eigen(A, *run(a)[1:3])


@pytest.mark.parametrize(("dtype", "axis_type", "jit"), pairwise(DTYPES))
def test_ctx_as_netket_calls_it(make_mesh, axis_type, dtype, jit):
    """The mesh comes from the context, and the vectors are sharded over rows, like a."""
    mesh = make_mesh(4, axis_type=axis_type)
    a = hermitian(N, dtype)
    on_mesh = put(a, mesh, "x", None)

    def call(a):
        return syevd_shardmap_ctx(a, T_A=3)[1:3]

    with set_mesh(mesh):
        w, v = (jax.jit(call) if jit else call)(on_mesh)
    assert_eigen(a, w, v)
    assert v.sharding.is_equivalent_to(on_mesh.sharding, 2)


def test_ctx_without_vectors_on_global_arrays(make_mesh):
    _, w, status = syevd_shardmap_ctx(put(A, make_mesh(4), "x", None), 3, False)
    assert_eigenvalues(A, w)
    assert status == 0


def test_ctx_failure_on_global_arrays(make_mesh, axis_type):
    a = put(np.full_like(A, np.nan), make_mesh(4, axis_type=axis_type), "x", None)
    _, w, v, status = jax.jit(syevd_shardmap_ctx)(a)
    assert np.isnan(w).all() and np.isnan(v).all() and status == 7


# --- inside shard_map -------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_shardmap_ctx(make_mesh, axis_type, count):
    mesh = make_mesh(count, axis_type=axis_type)
    run = jax.shard_map(
        lambda a: syevd_shardmap_ctx(a, 3, pad=False),
        mesh=mesh,
        in_specs=ROWS,
        out_specs=(P(None), P(None, "x"), P(None)),
    )
    w, v, status = jax.jit(run)(put(A, mesh, "x", None))
    check(w, v, mesh)
    assert status.shape == (1,) and status.dtype == np.int32 and status[0] == 0


def test_shardmap_ctx_without_vectors(make_mesh):
    mesh = make_mesh(4)
    run = jax.shard_map(
        lambda a: syevd_shardmap_ctx(a, 3, False),
        mesh=mesh,
        in_specs=ROWS,
        out_specs=(P(None), P(None)),
    )
    w, status = run(put(A, mesh, "x", None))
    assert_eigenvalues(A, w)
    assert status.tolist() == [0]
    w, status = run(put(np.full_like(A, np.nan), mesh, "x", None))
    assert status.tolist() == [7] and np.isnan(w).all()


def test_ctx_wrong_calls():
    with pytest.raises(ValueError, match="axis_name is for calls inside shard_map"):
        syevd_shardmap_ctx(jnp.asarray(A), 3, axis_name="x")
    with pytest.warns(JaxMgWarning, match="^T_A has a maximum value of 1024"):
        syevd_shardmap_ctx(jnp.asarray(A), 2000)
