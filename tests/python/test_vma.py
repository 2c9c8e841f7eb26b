"""Calls inside the caller's ``shard_map``: a matrix on each device, with JAX's default checks."""

import jax
import jax.numpy as jnp
import jaxmg
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec as P
from jaxmg import linalg
from systems import gaussian, hermitian, positive_definite

N, RANKS = 5, 2
B = gaussian((N, 2), seed=7)


def each(matrix, dtype):
    """Return a matrix for each device."""
    return np.stack([matrix(N, dtype, seed) for seed in range(RANKS)])


def weighted(x):
    """Return a real number in which every element of x has another weight."""
    weights = 1 + jnp.arange(x.size, dtype=x.real.dtype).reshape(x.shape)
    return jnp.sum(jnp.abs(x) ** 2 * weights) + jnp.sum(x.real)


def as_hermitian(a):
    return (a + a.conj().T) / 2


def of_eigen(w, v):
    """Return a number that does not depend on the phases of eigenvectors."""
    return weighted(w) + weighted(jnp.abs(v) ** 2)


def cho(a):
    return linalg.cho_factor(a)


def jnp_root(a):
    w, v = jnp.linalg.eigh(a)
    return (v * jnp.sqrt(w)) @ v.conj().T


def jnp_lower(a):
    return jnp.linalg.cholesky(a)


def generalised(a, m):
    """Return what `eigh(a, m)` does, by jax.numpy."""
    lower = jnp_lower(m)
    half = jax.scipy.linalg.solve_triangular(lower, a, lower=True)
    c = jax.scipy.linalg.solve_triangular(lower, half.conj().T, lower=True)
    return jnp.linalg.eigvalsh(as_hermitian(c))


# name: (ours, by jax.numpy), functions of a matrix and of what all devices share.
FUNCTIONS = {
    "solve": (
        lambda a, b: weighted(linalg.solve(a, b, assume_a="pos")),
        lambda a, b: weighted(jnp.linalg.solve(a, b)),
    ),
    "cho_solve": (
        lambda a, b: weighted(linalg.cho_solve(cho(a), b)),
        lambda a, b: weighted(jnp.linalg.solve(a, b)),
    ),
    "solve_triangular": (
        lambda a, b: weighted(linalg.solve_triangular(cho(a), b)),
        lambda a, b: weighted(jax.scipy.linalg.solve_triangular(jnp_lower(a), b, lower=True)),
    ),
    "solve_triangular adjoint": (
        lambda a, b: weighted(linalg.solve_triangular(cho(a), b, trans="C")),
        lambda a, b: weighted(jnp.linalg.solve(jnp_lower(a).conj().T, b)),
    ),
    "inv": (
        lambda a, b: weighted(linalg.inv(a, assume_a="pos") @ b),
        lambda a, b: weighted(jnp.linalg.inv(a) @ b),
    ),
    "cholesky": (
        lambda a, b: weighted(linalg.cholesky(a) @ b),
        lambda a, b: weighted(jnp_lower(a) @ b),
    ),
    "logdet": (
        lambda a, b: linalg.logdet(a) * weighted(b),
        lambda a, b: jnp.linalg.slogdet(a)[1] * weighted(b),
    ),
    "slogdet": (
        lambda a, b: linalg.slogdet(a, assume_a="pos")[1] * weighted(b),
        lambda a, b: jnp.linalg.slogdet(a)[1] * weighted(b),
    ),
    "cho_factor_shifted": (
        lambda a, b: weighted(linalg.cho_factor_shifted(a, shift=1e-3)[0].solve(b)),
        lambda a, b: weighted(jnp.linalg.solve(a, b)),
    ),
    "cho_factor_shifted by default": (
        lambda a, b: weighted(linalg.cho_factor_shifted(a)[0].solve(b)),
        lambda a, b: weighted(jnp.linalg.solve(a, b)),
    ),
    "eigh": (
        lambda a, b: of_eigen(*linalg.eigh(a)) * weighted(b),
        lambda a, b: of_eigen(*jnp.linalg.eigh(a)) * weighted(b),
    ),
    "eigh by value": (
        lambda a, b: of_eigen(*linalg.eigh(a, subset_by_value=(-100, 100))[:2]) * weighted(b),
        lambda a, b: of_eigen(*jnp.linalg.eigh(a)) * weighted(b),
    ),
    "eigvalsh": (
        lambda a, b: weighted(linalg.eigvalsh(a)) * weighted(b),
        lambda a, b: weighted(jnp.linalg.eigvalsh(a)) * weighted(b),
    ),
    "eigvalsh of a and a shared matrix": (
        lambda a, b: weighted(linalg.eigvalsh(a, b @ b.conj().T + N * jnp.eye(N, dtype=b.dtype))),
        lambda a, b: weighted(generalised(a, b @ b.conj().T + N * jnp.eye(N, dtype=b.dtype))),
    ),
    "pinvh": (
        lambda a, b: weighted(linalg.pinvh(a, rtol=1e-9) @ b),
        lambda a, b: weighted(jnp.linalg.inv(a) @ b),
    ),
    "sqrtm_h": (
        lambda a, b: weighted(linalg.sqrtm_h(a) @ b),
        lambda a, b: weighted(jnp_root(a) @ b),
    ),
}


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
    """JAX's own operations then give each device the gradient of its own term."""
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
