"""Calls inside the caller's ``shard_map``: a matrix on each device, with JAX's default checks."""

import jax
import jax.numpy as jnp
import jaxmg
import numpy as np
import pytest
from functions import FUNCTIONS, as_hermitian, weighted
from jax import lax
from jax.sharding import PartitionSpec as P
from jaxmg import linalg
from systems import gaussian, hermitian, positive_definite

N, RANKS = 5, 2
B = gaussian((N, 2), seed=7)


def each(matrix, dtype):
    """Return a matrix for each device."""
    return np.stack([matrix(N, dtype, seed) for seed in range(RANKS)])


@pytest.fixture(params=["float64", "complex128"])
def operands(request):
    return each(positive_definite, request.param), gaussian((N, 2), request.param, 7)


def mapped(function, mesh, in_specs, out_specs, check=True):
    return jax.jit(
        jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=check)
    )


def total_by_jnp(function):
    return lambda a, b: sum(function(as_hermitian(a[i]), b) for i in range(RANKS))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_sum_over_the_devices(make_mesh, operands, name):
    ours, by_jnp = FUNCTIONS[name]

    def total(a, b):
        return lax.psum(ours(as_hermitian(a[0]), b), "x")

    total = mapped(total, make_mesh(RANKS), (P("x"), P()), P())
    value, gradients = jax.value_and_grad(total, argnums=(0, 1))(*operands)
    expected, right = jax.value_and_grad(total_by_jnp(by_jnp), argnums=(0, 1))(*operands)
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    for got, wanted in zip(gradients, right, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-7, atol=1e-8 * np.abs(wanted).max())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_inside_shard_map_without_checks(make_mesh, name):
    """JAX's own operations then return on each device the gradient of its own term."""
    ours, by_jnp = FUNCTIONS[name]
    operands = each(positive_definite, "float64"), B

    def gradients(a, b):
        da, db = jax.grad(lambda a, b: ours(as_hermitian(a), b), argnums=(0, 1))(a[0], b)
        return da[None], db[None]

    run = mapped(gradients, make_mesh(RANKS), (P("x"), P()), (P("x"), P("x")), check=False)
    got = run(*operands)
    for i in range(RANKS):
        right = jax.grad(lambda a, b: by_jnp(as_hermitian(a), b), argnums=(0, 1))(
            operands[0][i], operands[1]
        )
        for part, wanted in zip(got, right, strict=True):
            np.testing.assert_allclose(part[i], wanted, rtol=1e-7, atol=1e-8 * np.abs(wanted).max())


def test_the_gradient_of_a_shared_right_hand_side_inside_shard_map(make_mesh):
    a = np.array([[[2.0]], [[4.0]]])

    def gradient(a, b):
        return jax.grad(lambda b: jnp.sum(linalg.solve(a[0], b, assume_a="pos")))(b)

    run = mapped(gradient, make_mesh(RANKS), (P("x"), P()), P())
    np.testing.assert_allclose(run(a, np.ones(1)), 0.75)


def test_second_derivatives(make_mesh):
    a = each(positive_definite, "float64")

    def total(a, b):
        return lax.psum(weighted(linalg.solve(as_hermitian(a[0]), b, assume_a="pos")), "x")

    total = mapped(total, make_mesh(RANKS), (P("x"), P()), P())
    by_jnp = total_by_jnp(FUNCTIONS["solve"][1])
    got = jax.jvp(jax.grad(total), (a, B), (a, B))[1]
    wanted = jax.jvp(jax.grad(by_jnp), (a, B), (a, B))[1]
    np.testing.assert_allclose(got, wanted, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_that_differ_do_not_pass_for_replicated_ones(make_mesh, name):
    ours, _ = FUNCTIONS[name]
    run = mapped(lambda a, b: ours(a[0], b), make_mesh(RANKS), (P("x"), P()), P())
    with pytest.raises(Exception, match=r"(?s)out_specs|replicat|varying"):
        run(each(positive_definite, "float64"), B)


def test_results_of_shared_operands_are_replicated(make_mesh):
    a = positive_definite(N)
    mesh = make_mesh(RANKS)
    x = mapped(lambda a, b: linalg.solve(a, b, assume_a="pos"), mesh, (P(), P()), P())(a, B)
    np.testing.assert_allclose(x, np.linalg.solve(a, B), rtol=1e-10)


def of_both(function):
    return np.stack([function(a) for a in each(positive_definite, "float64")])


def test_loops_and_branches(make_mesh):
    a, mesh = each(positive_definite, "float64"), make_mesh(RANKS)

    def one(a, b):
        return linalg.solve(a, b, assume_a="pos")

    def scanned(a, b):
        b = b + 0 * a[0, :, :2]
        return lax.scan(lambda x, _: (one(a[0], x), None), b, None, length=3)[0][None]

    def repeated(a, b):
        b = b + 0 * a[0, :, :2]
        return lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, one(a[0], s[1])), (0, b))[1][
            None
        ]

    def branched(a, b):
        larger = a[0, 0, 0] > a.min()
        wanted = lax.cond(larger, lambda: one(a[0], b), lambda: one(2 * a[0], 2 * b))
        return wanted[None]

    def thrice(a):
        x = B
        for _ in range(3):
            x = np.linalg.solve(a, x)
        return x

    for function, expected in (
        (scanned, of_both(thrice)),
        (repeated, of_both(thrice)),
        (branched, of_both(lambda a: np.linalg.solve(a, B))),
    ):
        got = mapped(function, mesh, (P("x"), P()), P("x"))(a, B)
        np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_gradients_through_scan(make_mesh):
    a, mesh = each(positive_definite, "float64"), make_mesh(RANKS)

    def ours(a, b):
        def step(total, k):
            return total + weighted(linalg.solve(a + k * jnp.eye(N), b, assume_a="pos")), None

        return lax.scan(step, 0 * a[0, 0], jnp.arange(3.0))[0]

    def by_jnp(a, b):
        return sum(weighted(jnp.linalg.solve(a + k * jnp.eye(N), b)) for k in range(3))

    total = mapped(
        lambda a, b: lax.psum(ours(as_hermitian(a[0]), b), "x"), mesh, (P("x"), P()), P()
    )
    got = jax.grad(total, argnums=(0, 1))(a, B)
    wanted = jax.grad(total_by_jnp(by_jnp), argnums=(0, 1))(a, B)
    for part, right in zip(got, wanted, strict=True):
        np.testing.assert_allclose(part, right, rtol=1e-7, atol=1e-9)


def test_batches(make_mesh):
    many = np.stack([[positive_definite(N, seed=3 * i + j) for j in range(3)] for i in range(2)])
    mesh = make_mesh(RANKS)

    def over_matrices(a, b):
        return jax.vmap(lambda a: linalg.solve(a, b, assume_a="pos"))(a[0])[None]

    got = mapped(over_matrices, mesh, (P("x"), P()), P("x"))(many, B)
    np.testing.assert_allclose(got, np.linalg.solve(many, B), rtol=1e-9)

    def over_sides(a, b):
        return jax.vmap(lambda b: linalg.solve(a[0, 0], b, assume_a="pos"), 1, 1)(b)[None]

    got = mapped(over_sides, mesh, (P("x"), P()), P("x"))(many, B)
    np.testing.assert_allclose(got, np.linalg.solve(many[:, 0], B), rtol=1e-9)


def test_one_axis_of_two(make_mesh):
    """Matrices that differ along one axis, right-hand sides along the other."""
    a, b = each(positive_definite, "float64"), np.stack([B, 2 * B])
    mesh = make_mesh(2, 2)

    def total(a, b):
        x = linalg.solve(as_hermitian(a[0]), b[0], assume_a="pos")
        return lax.psum(weighted(x), ("x", "y"))

    def by_jnp(a, b):
        return sum(
            weighted(jnp.linalg.solve(as_hermitian(a[i]), b[j])) for i in range(2) for j in range(2)
        )

    total = mapped(total, mesh, (P("x"), P("y")), P())
    got = jax.grad(total, argnums=(0, 1))(a, b)
    wanted = jax.grad(by_jnp, argnums=(0, 1))(a, b)
    for part, right in zip(got, wanted, strict=True):
        np.testing.assert_allclose(part, right, rtol=1e-7, atol=1e-9)


def test_eigenvalues_of_indefinite_matrices(make_mesh):
    a = each(hermitian, "float64")
    run = mapped(lambda a: linalg.eigvalsh(a[0])[None], make_mesh(RANKS), P("x"), P("x"))
    np.testing.assert_allclose(run(a), np.linalg.eigvalsh(a), atol=1e-12)


# The functions for row blocks, inside shard_map with JAX's default checks.


@pytest.mark.parametrize("nrhs", [1, 64])
def test_potrs_on_rows(make_mesh, nrhs):
    a, b = positive_definite(16), gaussian((16, nrhs))

    def run(a, b):
        x, status = jaxmg.potrs_shardmap_ctx(a, b)
        return x, status

    x, status = mapped(run, make_mesh(4), (P("x", None), P()), (P(), P()))(a, b)
    assert status.tolist() == [0]
    np.testing.assert_allclose(x, np.linalg.solve(a, b), rtol=1e-10)


def test_potri_and_syevd_on_rows(make_mesh):
    a = positive_definite(16)

    def run(a):
        x, status = jaxmg.potri_shardmap_ctx(a)
        w, v, status_of_w = jaxmg.syevd_shardmap_ctx(a)
        return x, w, v, status, status_of_w

    specs = P("x", None), P(), P(None, "x"), P(), P()
    x, w, v, *statuses = mapped(run, make_mesh(4), P("x", None), specs)(a)
    assert [status.tolist() for status in statuses] == [[0], [0]]
    np.testing.assert_allclose(x, np.linalg.inv(a), rtol=1e-10)
    np.testing.assert_allclose((v * w) @ v.T, a, rtol=1e-10, atol=1e-12)


def test_failure_on_rows_reaches_every_rank(make_mesh):
    a = positive_definite(16)
    a[7, 7] = -1

    def run(a, b):
        return jaxmg.potrs_shardmap_ctx(a, b)

    x, status = mapped(run, make_mesh(4), (P("x", None), P()), (P(), P()))(a, np.ones((16, 1)))
    assert status.tolist() == [7] and np.isnan(x).all()
