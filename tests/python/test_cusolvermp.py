"""The cuSOLVERMp backend: its plans, operands of its calls, and on GPUs its results."""

import warnings

import jax
import jaxmg
import numpy as np
import pytest
from jax.errors import JaxRuntimeError
from jax.sharding import NamedSharding, PartitionSpec
from jaxmg import linalg
from jaxmg._mesh.finding import concrete, ranks_of
from jaxmg._mesh.ranks import block_spec
from jaxmg._native import cuda, plans
from jaxmg._planning import backends, cusolvermp
from systems import (
    RANKS_AND_DTYPES,
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

F64 = np.dtype("float64")


def solve(a, b, **options):
    return linalg.solve(a, b, assume_a="pos", backend="cusolvermp", **options)


# --- plans --------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch):
    """Make the library's workspace 10 MiB, and return the plans that it was queried for."""
    questions = []

    def solver_bytes(made, ranks):
        questions.append(made)
        return 10 << 20

    monkeypatch.setattr(cusolvermp, "solver_bytes", solver_bytes)
    monkeypatch.setattr(cusolvermp, "concrete", lambda ranks, size: ranks)
    return questions


def plan(step, n, count, **options):
    return cusolvermp.plan(step, n, count, F64, **(dict(ranks=4) | options))


def test_workspace_includes_the_library(asked):
    ours = plans.plan("posv", 4096, 1, F64, ranks=4, backend="cusolvermp")
    assert plan("posv", 4096, 1).workspace_bytes == ours.workspace_bytes + (10 << 20)
    assert asked == [ours]


def test_a_limit_that_is_too_low(asked):
    least = plan("potrf", 4096, 1).workspace_bytes
    assert plan("potrf", 4096, 1, workspace_limit=least).workspace_bytes == least
    with pytest.raises(ValueError, match=f"need {least} bytes of workspace per device"):
        plan("potrf", 4096, 1, workspace_limit=least - 1)


def test_tiles_may_be_chosen(asked):
    assert plan("posv", 4096, 1, tile=300).fields()["block"] == "300"
    assert plan("posv", 4096, 1, tile=1).fields()["block"] == "16"  # no more than 256 x 256 tiles
    assert plan("syevd", 100, 100, tile=4096).tile == 100


def test_a_grid_of_the_meshs_shape(asked):
    plan("posv", 4096, 1, ranks=8, grid_rows=4)
    assert asked[0].fields()["grid_rows"] == "4"
    with pytest.raises(ValueError, match="rows of the grid, 3, must divide .* devices, 8"):
        plan("posv", 4096, 1, ranks=8, grid_rows=3)


@pytest.mark.parametrize("shape", [(1,), (4,), (2, 2)])
def test_the_question_reaches_the_ranks_whatever_is_traced(make_mesh, monkeypatch, shape):
    """On CPUs the query raises an error."""
    mesh = make_mesh(*shape)
    if jax.default_backend() != "cpu":
        pytest.skip("the answer is the CPU's")
    monkeypatch.setattr(cuda, "vendor_version", lambda backend: "0.9.1")
    ranks = concrete(ranks_of(put(np.eye(8), mesh, "x")), mesh.size)
    made = plans.plan("posv", 100, 1, F64, ranks=ranks.size, backend="cusolvermp")

    def program(x):
        with pytest.raises(JaxRuntimeError, match="no backend number 2 on CPUs"):
            cusolvermp.solver_bytes(made, ranks)
        return x

    with jax.set_mesh(mesh) if hasattr(jax, "set_mesh") else jax.sharding.use_mesh(mesh):
        jax.jit(program).lower(1.0)


def test_it_has_no_inverse(asked):
    with pytest.raises(ValueError, match="cusolvermp does not serve potri"):
        plan("potri", 4096, 1)


def test_functions_of_a_factor_are_served_by_tiled():
    own = ("potrs", "potri", "lower", "diagonal", "upper", "orgqr", "ormqr", "rtrs", "tsqr")
    theirs = ("posv", "potrf", "gesv", "syevd", "geqrf", "gesvd", "polar")
    assert {backends.of_step("cusolvermp", step) for step in own} == {"tiled"}
    assert {backends.of_step("cusolvermp", step) for step in theirs} == {"cusolvermp"}


# --- matrices in blocks of rows and columns -----------------------------------------------------


@pytest.mark.parametrize(
    ("n", "spec", "taken"),
    [
        (8, ("x", "y"), True),
        (8, (("x", "y"), None), False),
        (8, ("x", None), False),
        (8, (None, "y"), False),
        (8, ("y", "x"), True),  # ranks then are numbered along y
        (6, ("x", "y"), False),  # 6 rows do not divide among 4 ranks
    ],
)
def test_which_matrices_are_taken_in_blocks(make_mesh, n, spec, taken):
    a = put(np.eye(n), make_mesh(2, 2), *spec)
    ranks = ranks_of(a)
    assert block_spec(a, ranks) == (PartitionSpec(*spec) if taken else None)


@pytest.fixture
def on_cpus(monkeypatch, asked):
    """Allow calls to be traced, but not run, on CPU devices."""
    if jax.default_backend() != "cpu":
        pytest.skip("traces what only GPUs run")
    monkeypatch.setattr(backends, "_why_not", lambda *arguments: None)
    monkeypatch.setattr(backends, "_availability", lambda name: ("0.9.1", None))


def collectives(function, a, *others):
    """Return the collectives of a program, except the all-gather of the roll."""
    operands = (a, *others)
    text = jax.jit(function).lower(*operands).compile().as_text()
    names = ("all-to-all", "collective-permute", "all-reduce", "reduce-scatter")
    found = {name for name in names if f" {name}(" in text or f" {name}-start(" in text}
    gathers = [line for line in text.splitlines() if " all-gather(" in line]
    return found | {"all-gather" for line in gathers if "u32[" not in line.split("=")[1]}


def test_blocks_of_a_two_dimensional_mesh_are_not_moved(make_mesh, on_cpus):
    mesh = make_mesh(2, 2, axis_type="Explicit")

    def operand(shape, *spec):
        sharding = NamedSharding(mesh, PartitionSpec(*spec))
        return jax.ShapeDtypeStruct(shape, F64, sharding=sharding)

    a, b = operand((8, 8), "x", "y"), operand((8, 2), None, None)
    assert collectives(solve, a, b) == set()
    eigvalsh = jax.tree_util.Partial(linalg.eigvalsh, backend="cusolvermp")
    with pytest.warns(jaxmg.JaxMgWarning, match="wrong eigenvectors"):
        assert collectives(eigvalsh, a) == set()
    # Our own backend requires rows.
    ours = jax.tree_util.Partial(linalg.solve, assume_a="pos", backend="tiled")
    assert collectives(ours, a, b) != set()


def test_derivatives_of_a_matrix_in_blocks_have_its_sharding(make_mesh, on_cpus):
    mesh = make_mesh(2, 2, axis_type="Explicit")
    a = jax.ShapeDtypeStruct((8, 8), F64, sharding=NamedSharding(mesh, PartitionSpec("x", "y")))
    gradient = jax.eval_shape(jax.grad(lambda a: solve(a, np.ones(8)).sum()), a)
    assert gradient.shape == (8, 8)


DECOMPOSITIONS = {
    "qr": lambda a, b, **options: linalg.qr(a, **options),
    "r": lambda a, b, **options: linalg.qr(a, mode="r", **options),
    "lstsq": lambda a, b, **options: linalg.lstsq(a, b, **options)[0],
    "lstsq_qr": lambda a, b, **options: linalg.lstsq(a, b, method="qr", **options)[0],
    "svd": lambda a, b, **options: linalg.svd(a, **options),
    "svdvals": lambda a, b, **options: linalg.svdvals(a, **options),
    "pinv": lambda a, b, **options: linalg.pinv(a, **options),
    "polar": lambda a, b, **options: linalg.polar(a, **options),
}


@pytest.mark.parametrize("shape", [(8, 8), (24, 8), (8, 24)])
@pytest.mark.parametrize("name", DECOMPOSITIONS)
def test_decompositions_of_any_shape_are_planned(make_mesh, on_cpus, asked, name, shape):
    mesh = make_mesh(4)
    a, b = put(np.zeros(shape), mesh, "x", None), put(np.zeros(shape[0]), mesh)
    function = jax.tree_util.Partial(DECOMPOSITIONS[name])

    def shapes(backend):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", jaxmg.JaxMgWarning)  # polar may be wrong
            traced = jax.eval_shape(lambda a, b: function(a, b, backend=backend), a, b)
        return jax.tree.map(lambda x: (x.shape, x.dtype), traced)

    assert shapes("cusolvermp") == shapes("tiled")
    assert {plan.backend for plan in asked} == {"cusolvermp"}


# --- results ------------------------------------------------------------------------------------


@pytest.fixture
def library():
    """Skip if cuSOLVERMp is not available."""
    backend = {one.name: one for one in jaxmg.backends()}["cusolvermp"]
    if not backend.available:
        pytest.skip(f"cuSOLVERMp: {backend.reason}")


@pytest.mark.gpu
@pytest.mark.parametrize(("ranks", "dtype"), RANKS_AND_DTYPES)
def test_solves(library, make_mesh, ranks, dtype):
    mesh = make_mesh(ranks)
    for n, nrhs in ((1, 1), (50, 1), (1000, 3), (1537, 260)):
        a, b = positive_definite(n, dtype), gaussian((n, nrhs), dtype)
        operands = put(a, mesh), put(b, mesh)
        assert_solves(a, solve(*operands), b)
        assert_solves(a, jax.jit(solve)(*operands), b)


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (2, 2), (2, 4)])
def test_solves_in_blocks_of_a_two_dimensional_mesh(library, make_mesh, shape):
    mesh = make_mesh(*shape)
    for n in (64, 1000):
        a, b = positive_definite(n), gaussian((n, 5))
        assert_solves(a, solve(put(a, mesh, "x", "y"), put(b, mesh)), b)
        with pytest.warns(jaxmg.JaxMgWarning):
            w, v = linalg.eigh(put(a, mesh, "x", "y"), backend="cusolvermp")
        assert_eigen(a, w, v)


@pytest.mark.gpu
@pytest.mark.parametrize(("ranks", "dtype"), RANKS_AND_DTYPES)
def test_factors_serve_our_own_routines(library, make_mesh, ranks, dtype):
    mesh = make_mesh(ranks)
    a, b = positive_definite(600, dtype), gaussian((600, 2), dtype)
    factor = linalg.cho_factor(put(a, mesh, "x", None), backend="cusolvermp")
    assert_solves(a, factor.solve(put(b, mesh)), b)
    assert_inverse(a, factor.inv())
    assert_factor(a, factor.lower())
    assert_factor(a, linalg.cholesky(put(a, mesh, "x", None), backend="cusolvermp"))


@pytest.mark.gpu
def test_indefinite_matrix(library, make_mesh, ranks):
    mesh = make_mesh(ranks)
    for minor in (1, 300, 600):
        a = positive_definite(600)
        a[minor - 1, minor - 1] *= -1
        x, info = solve(put(a, mesh, "x", None), put(np.ones(600), mesh), return_info=True)
        assert info == minor and np.isnan(x).all()


@pytest.mark.gpu
def test_derivatives(library, make_mesh, ranks):
    mesh = make_mesh(ranks)
    a, b = put(positive_definite(200), mesh, "x", None), put(gaussian((200,)), mesh)

    def gradient(backend):
        return jax.grad(lambda a: linalg.solve(a, b, assume_a="pos", backend=backend).sum())(a)

    ours, theirs = gradient("tiled"), gradient("cusolvermp")
    np.testing.assert_allclose(theirs, ours, rtol=1e-9, atol=1e-12)


@pytest.mark.gpu
@pytest.mark.parametrize(("ranks", "dtype"), RANKS_AND_DTYPES)
def test_eigenproblems(library, make_mesh, ranks, dtype):
    mesh = make_mesh(ranks)
    for n in (70, 513):
        a = hermitian(n, dtype)
        operand = put(a, mesh, "x", None)
        with pytest.warns(jaxmg.JaxMgWarning, match="cuSOLVERMp 0.9.1"):
            assert_eigen(a, *linalg.eigh(operand, backend="cusolvermp"))
            assert_eigenvalues(a, linalg.eigvalsh(operand, backend="cusolvermp"))
            part = linalg.eigh(operand, backend="cusolvermp", subset_by_index=(3, 9))
        assert_eigenvalues(a, part.eigenvalues, slice(3, 10))


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("ranks", "shape", "dtype"),
    [
        (1, (300, 300), "float32"),
        (2, (1, 1), "float64"),
        (2, (300, 300), "complex128"),
        (3, (700, 130), "float64"),
        (4, (130, 500), "complex64"),
        (8, (700, 130), "complex128"),
    ],
)
def test_decompositions(library, make_mesh, ranks, shape, dtype):
    mesh = make_mesh(ranks)
    a, b = gaussian(shape, dtype), gaussian((shape[0], 3), dtype)
    operands = put(a, mesh, "x", None), put(b, mesh)
    eps, options = np.finfo(dtype).eps, dict(backend="cusolvermp")
    bound = 30 * max(shape) * eps

    def unitary(q):
        return np.linalg.norm(q.conj().T @ q - np.eye(q.shape[1])) < bound

    q, r = map(np.asarray, linalg.qr(operands[0], **options))
    assert unitary(q) and np.linalg.norm(q @ r - a) < bound * np.linalg.norm(a)
    x = linalg.lstsq(*operands, method="qr", **options)[0]
    expected = np.linalg.lstsq(a, b, rcond=None)[0]
    condition = np.linalg.cond(a)
    assert np.linalg.norm(x - expected) < bound * condition * np.linalg.norm(expected)
    x = linalg.lstsq(*operands, **options)[0]
    assert np.linalg.norm(x - expected) < bound * condition * np.linalg.norm(expected)
    u, s, vh = map(np.asarray, linalg.svd(operands[0], **options))
    assert unitary(u) and unitary(vh.conj().T)
    assert np.linalg.norm((u * s) @ vh - a) < bound * np.linalg.norm(a)
    np.testing.assert_allclose(s, np.linalg.svd(a, compute_uv=False), atol=bound * s[0])
    np.testing.assert_allclose(linalg.svdvals(operands[0], **options), s, atol=bound * s[0])
    for side in ("left", "right"):
        with pytest.warns(jaxmg.JaxMgWarning, match="not unitary"):
            u, h = map(np.asarray, linalg.polar(operands[0], side=side, **options))
        assert unitary(u if u.shape[0] >= u.shape[1] else u.conj().T)
        product = h @ u if side == "left" else u @ h
        assert np.linalg.norm(product - a) < bound * np.linalg.norm(a)


HARD = {
    "rank one": lambda n: np.ones((n, n)),
    "condition 1e12": lambda n: gaussian((n, n)) * np.logspace(0, -12, n),
    "half of full rank": lambda n: gaussian((n, n // 2)) @ gaussian((n // 2, n)),
    "identity": np.eye,
}


@pytest.mark.gpu
@pytest.mark.parametrize("name", HARD)
def test_hard_matrices(library, make_mesh, ranks, name):
    mesh, a = make_mesh(ranks), HARD[name](256)
    operand = put(a, mesh, "x", None)
    q, r = map(np.asarray, linalg.qr(operand, backend="cusolvermp"))
    u, s, vh = map(np.asarray, linalg.svd(operand, backend="cusolvermp"))
    bound = 30 * 256 * np.finfo(np.float64).eps
    for unitary in (q, u, vh):
        assert np.linalg.norm(unitary.T @ unitary - np.eye(256)) < bound
    for product in (q @ r, (u * s) @ vh):
        assert np.linalg.norm(product - a) < bound * np.linalg.norm(a)
