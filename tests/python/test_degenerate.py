"""Orders 0 and 1, nothing to solve for, and what LAPACK does not read of a Hermitian matrix."""

import jax
import jax.numpy as jnp
import jax.scipy.linalg
import numpy as np
import pytest
from jaxmg import linalg
from systems import gaussian, hermitian, positive_definite, put, set_mesh

# --- orders 0 and 1 ---------------------------------------------------------------------------

EVERYTHING = (-np.inf, np.inf)


def of_factor(method):
    return lambda a: getattr(linalg.cho_factor(a), method)()


# What is to be of the matrix 4 I of order 0 or 1: name: (function of a, of n).
OF_A = {
    "inv": (lambda a: linalg.inv(a, assume_a="pos"), lambda n: np.eye(n) / 4),
    "cholesky": (linalg.cholesky, lambda n: 2 * np.eye(n)),
    "logdet": (linalg.logdet, lambda n: n * np.log(4)),
    "slogdet": (lambda a: linalg.slogdet(a, assume_a="pos"), lambda n: (1, n * np.log(4))),
    "det": (linalg.det, lambda n: 4**n),
    "lu_factor": (
        lambda a: (lambda factor: (factor.inv(), *factor.slogdet()))(linalg.lu_factor(a)),
        lambda n: (np.eye(n) / 4, 1, n * np.log(4)),
    ),
    "factor.inv": (of_factor("inv"), lambda n: np.eye(n) / 4),
    "factor.lower": (of_factor("lower"), lambda n: 2 * np.eye(n)),
    "shifted": (
        lambda a: (lambda factor, s: (factor.logdet(), s))(*linalg.cho_factor_shifted(a)),
        lambda n: (n * np.log(4), 0),
    ),
    "shift": (lambda a: linalg.cho_factor_shifted(a - 4, shift=2)[1], lambda n: 2 * n),
    "eigh": (lambda a: linalg.eigh(a), lambda n: (np.full(n, 4), np.eye(n))),
    "eigh L": (lambda a: linalg.eigh(a, UPLO="L"), lambda n: (np.full(n, 4), np.eye(n))),
    "eigh b": (lambda a: linalg.eigh(a, a), lambda n: (np.ones(n), np.eye(n) / 2)),
    "eigh by value": (
        lambda a: linalg.eigh(a, subset_by_value=EVERYTHING, return_info=True),
        lambda n: (np.full(n, 4), np.eye(n), n, 0),
    ),
    "eigh by value, size": (
        lambda a: linalg.eigh(a, subset_by_value=EVERYTHING, size=2)[::2],
        lambda n: ([4, np.nan][1 - n :][: n + 1] + [np.nan] * (1 - n), n),
    ),
    "eigh by value, none": (
        lambda a: linalg.eigh(a, subset_by_value=(5, 6), size=1),
        lambda n: ([np.nan], np.zeros((n, 1)), 0),
    ),
    "eigh b by value": (
        lambda a: linalg.eigh(a, a, subset_by_value=EVERYTHING, size=1),
        lambda n: ([1] if n else [np.nan], np.full((n, 1), 0.5), n),
    ),
    "eigvalsh": (linalg.eigvalsh, lambda n: np.full(n, 4)),
    "eigvalsh b": (lambda a: linalg.eigvalsh(a, a), lambda n: np.ones(n)),
    "eigvalsh by value": (
        lambda a: linalg.eigvalsh(a, subset_by_value=EVERYTHING, size=1),
        lambda n: ([4] if n else [np.nan], n),
    ),
    "pinvh": (linalg.pinvh, lambda n: np.eye(n) / 4),
    "pinvh L": (lambda a: linalg.pinvh(a, rtol=0.1, UPLO="L"), lambda n: np.eye(n) / 4),
    "sqrtm_h": (linalg.sqrtm_h, lambda n: 2 * np.eye(n)),
}
SOLVERS = {
    "general": (linalg.solve, 4),
    "lu_solve": (lambda a, b: linalg.lu_solve(linalg.lu_factor(a), b, trans=1), 4),
    "triangular": (lambda a, b: linalg.solve_triangular(a, b, lower=True), 4),
    "diagonal": (lambda a, b: linalg.solve(a, b, assume_a="diagonal"), 4),
    "solve": (lambda a, b: linalg.solve(a, b, assume_a="pos"), 4),
    "cho_solve": (lambda a, b: linalg.cho_solve(linalg.cho_factor(a), b), 4),
    "solve_triangular": (lambda a, b: linalg.solve_triangular(linalg.cho_factor(a), b), 2),
}


@pytest.fixture(params=["one device", "Auto", "Explicit"])
def place(request, make_mesh):
    """Return a function that puts an array on one device or on a mesh."""
    if request.param == "one device":
        yield jnp.asarray
        return
    mesh = make_mesh(3, axis_type=request.param)
    # JAX drops arguments that do not count, as those of a matrix of order 0, and with them a mesh.
    with set_mesh(mesh):
        yield lambda array: put(array, mesh)


def close(result, expected):
    result, expected = jax.tree.leaves(result), jax.tree.leaves(expected, is_leaf=is_array)
    for x, known in zip(result, expected, strict=True):
        assert x.shape == np.shape(known)
        np.testing.assert_allclose(abs(np.asarray(x)), known, atol=1e-12)


def is_array(value):
    return isinstance(value, (list, np.ndarray))


def total(result):
    """Return a real number that depends on all that is finite."""
    leaves = (leaf for leaf in jax.tree.leaves(result) if jnp.issubdtype(leaf.dtype, np.inexact))
    return sum(jnp.sum(jnp.where(jnp.isnan(leaf), 0, leaf.real)) for leaf in leaves)


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("name", OF_A)
def test_functions_of_a_matrix(place, name, n):
    function, expected = OF_A[name]
    a = place(4.0 * np.eye(n))
    close(function(a), expected(n))
    gradient = jax.jit(jax.grad(lambda a: total(function(a))))(a)
    assert gradient.shape == (n, n) and np.isfinite(gradient).all()


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("name", SOLVERS)
def test_solvers(place, name, n):
    solve, divisor = SOLVERS[name]
    a = place(4.0 * np.eye(n))
    for shape in ((n,), (n, 2), (n, 0)):
        b = place(np.ones(shape))
        close(solve(a, b), np.ones(shape) / divisor)
        gradients = jax.jit(jax.grad(lambda a, b: total(solve(a, b)), (0, 1)))(a, b)
        assert [gradient.shape for gradient in gradients] == [(n, n), shape]


@pytest.mark.parametrize("n", [0, 1, 5])
def test_batches_of_nothing(place, n):
    matrices = place(np.zeros((0, n, n)))
    for function, _ in OF_A.values():
        batch = jax.vmap(function)(matrices)
        one = jax.eval_shape(function, jax.ShapeDtypeStruct((n, n), np.float64))
        assert jax.tree.map(jnp.shape, batch) == jax.tree.map(lambda x: (0, *x.shape), one)
    a = place(4.0 * np.eye(n))
    for solve, _ in SOLVERS.values():
        for shape in ((n,), (n, 2)):
            sides = place(np.zeros((0, *shape)))
            assert jax.vmap(solve)(matrices, sides).shape == sides.shape
            assert jax.vmap(solve, in_axes=(None, 0))(a, sides).shape == sides.shape
            b = place(np.ones(shape))
            assert jax.vmap(solve, in_axes=(0, None))(matrices, b).shape == sides.shape


def test_no_right_hand_sides(place):
    a, b = place(positive_definite(7)), place(np.ones((7, 0)))
    x, info = linalg.solve(a, b, assume_a="pos", return_info=True)
    assert x.shape == (7, 0) and info == 0
    gradient = jax.jit(jax.grad(lambda a: total(linalg.solve(a, b, assume_a="pos"))))(a)
    assert (np.asarray(gradient) == 0).all()


# --- what is not read -------------------------------------------------------------------------

N = 5
A, H, B = positive_definite(N, complex), hermitian(N, complex, 1), gaussian((N,), complex)
SEMIDEFINITE = H @ H + np.eye(N)


def solves_shifted(a, **options):
    factor, shift = linalg.cho_factor_shifted(a, **options)
    return factor.solve(B), shift


# Name: (function, matrix, the triangle that is read).
READERS = {
    "solve": (lambda a: linalg.solve(a, B, assume_a="pos"), A, "U"),
    "inv": (lambda a: linalg.inv(a, assume_a="pos"), A, "U"),
    "cholesky": (linalg.cholesky, A, "U"),
    "logdet": (linalg.logdet, A, "U"),
    "slogdet": (lambda a: linalg.slogdet(a, assume_a="pos"), A, "U"),
    "cho_solve": (lambda a: linalg.cho_solve(linalg.cho_factor(a), B), A, "U"),
    "solve upper": (lambda a: linalg.solve(a, B, assume_a="upper triangular"), A, "all of U"),
    "solve lower": (lambda a: linalg.solve_triangular(a, B, 2, lower=True), A, "all of L"),
    "solve diagonal": (lambda a: linalg.solve(a, B, assume_a="diagonal"), A, "all of U"),
    "solve_triangular": (lambda a: linalg.solve_triangular(linalg.cho_factor(a), B), A, "U"),
    "shift": (lambda a: solves_shifted(a, shift=3.0), A - np.eye(N), "U"),
    "default shift": (lambda a: solves_shifted(a, growth=1e5), A - 3 * np.eye(N), "U"),
    "eigvalsh": (linalg.eigvalsh, H, "U"),
    "eigh": (lambda a: jax.tree.map(abs, linalg.eigh(a)), H, "U"),
    "eigh L": (lambda a: jax.tree.map(abs, linalg.eigh(a, UPLO="L")), H, "L"),
    "eigh by index": (lambda a: abs(linalg.eigh(a, subset_by_index=(1, 2))[1]), H, "U"),
    "eigh by value": (lambda a: abs(linalg.eigh(a, subset_by_value=(-9, 9))[1]), H, "U"),
    "eigh with b": (lambda a: jax.tree.map(abs, linalg.eigh(a, A)), H, "U"),
    "eigh with b, L": (lambda a: jax.tree.map(abs, linalg.eigh(a, A, UPLO="L")), H, "L"),
    "b of eigh": (lambda b: jax.tree.map(abs, linalg.eigh(H, b)), A, "U"),
    "b of eigvalsh, L": (lambda b: linalg.eigvalsh(H, b, UPLO="L"), A, "L"),
    "pinvh": (linalg.pinvh, H, "U"),
    "pinvh L": (lambda a: linalg.pinvh(a, UPLO="L"), H, "L"),
    "sqrtm_h": (linalg.sqrtm_h, SEMIDEFINITE, "U"),
    "sqrtm_h L": (lambda a: linalg.sqrtm_h(a, UPLO="L"), SEMIDEFINITE, "L"),
}


def with_garbage(a, triangle):
    """Return a matrix with NaN in the other triangle and imaginary numbers on the diagonal."""
    other = np.tril_indices(N, -1) if triangle.endswith("U") else np.triu_indices(N, 1)
    if not triangle.startswith("all"):
        a = a + 1j * np.diag(np.arange(1, N + 1))
    a = a.copy()
    a[other] = np.nan
    return a


@pytest.mark.parametrize("name", READERS)
def test_what_is_not_read_counts_nowhere(make_mesh, name):
    function, a, triangle = READERS[name]
    mesh = make_mesh(2)

    @jax.jit
    def value_and_gradient(a):
        def weighted(a):
            result = function(a)
            parts = [(leaf.real, leaf.imag) for leaf in jax.tree.leaves(result)]
            numbers = jnp.concatenate([part.ravel() for part in jax.tree.leaves(parts)])
            return jnp.cos(jnp.arange(numbers.size)) @ numbers, result

        return jax.value_and_grad(weighted, has_aux=True)(a)

    clean = value_and_gradient(put(a, mesh, "x", None))
    dirty = value_and_gradient(put(with_garbage(a, triangle), mesh, "x", None))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(clean))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-8, atol=1e-8), dirty, clean)


def scipy_solve(a):
    return jax.scipy.linalg.solve(a, B, assume_a="pos")


# Name: (ours, JAX's, matrix).
TANGENTS = {
    "solve": (READERS["solve"][0], scipy_solve, A),
    "cho_solve": (READERS["cho_solve"][0], scipy_solve, A),
    "inv": (READERS["inv"][0], jnp.linalg.inv, A),
    "logdet": (linalg.logdet, lambda a: jnp.linalg.slogdet(a)[1], A),
    "cholesky": (linalg.cholesky, jnp.linalg.cholesky, A),
    "solve_triangular": (
        READERS["solve_triangular"][0],
        lambda a: jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(a), B, lower=True),
        A,
    ),
    "eigvalsh": (linalg.eigvalsh, jnp.linalg.eigvalsh, H),
    "eigh": (READERS["eigh"][0], lambda a: jax.tree.map(abs, tuple(jnp.linalg.eigh(a))), H),
    "pinvh": (linalg.pinvh, lambda a: jnp.linalg.pinv(a, hermitian=True), H),
}


@pytest.mark.parametrize("name", TANGENTS)
def test_tangents_that_are_not_hermitian_are_read_as_jax_reads_them(make_mesh, name):
    ours, of_jax, a = TANGENTS[name]
    da = gaussian((N, N), complex, 3)
    mesh = make_mesh(2)
    placed = tuple(put(array, mesh, "x", None) for array in (a, da))
    _, dx = jax.jit(lambda a, da: jax.jvp(ours, (a,), (da,)))(*placed)
    _, expected = jax.jvp(of_jax, (a,), (da,))
    for x, known in zip(jax.tree.leaves(dx), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, known, rtol=1e-8, atol=1e-8)
