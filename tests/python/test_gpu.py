"""GPU-specific behaviour: peer access and NCCL, and asynchronous calls."""

import threading

import jax
import jaxmg
import numpy as np
import pytest
from jax.errors import JaxRuntimeError
from jax.sharding import Mesh
from jaxmg import linalg
from systems import (
    DTYPES,
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

pytestmark = pytest.mark.gpu


def solve(a, b, **options):
    return linalg.solve(a, b, assume_a="pos", **options)


@pytest.mark.parametrize(("ranks", "dtype"), RANKS_AND_DTYPES)
def test_sizes_of_several_tiles(make_mesh, ranks, dtype):
    mesh = make_mesh(ranks)
    for n, nrhs in ((1000, 1), (1537, 7), (2048, 260)):
        a, b = positive_definite(n, dtype), gaussian((n, nrhs), dtype)
        assert_solves(a, solve(put(a, mesh, "x", None), put(b, mesh)), b)


def test_agrees_with_the_cpu(make_mesh, ranks):
    mesh = make_mesh(ranks)
    a, b = positive_definite(700), gaussian((700, 3))
    x = solve(put(a, mesh, "x", None), put(b, mesh))
    cpu = Mesh(np.array(jax.devices("cpu")[:ranks]), ("x",))
    expected = solve(put(a, cpu, "x", None), put(b, cpu))
    np.testing.assert_allclose(x, np.asarray(expected), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("ranks", "dtype"), RANKS_AND_DTYPES)
def test_factors_of_several_tiles(make_mesh, ranks, dtype):
    mesh = make_mesh(ranks)

    @jax.jit
    def run(a, b):
        factor = linalg.cho_factor(a)
        whitened, unwhitened = (factor.solve_triangular(b, trans=trans) for trans in "NC")
        return factor.solve(b), factor.inv(), factor.lower(), whitened, unwhitened

    for n, nrhs in ((600, 1), (777, 130)):
        a, b = positive_definite(n, dtype), gaussian((n, nrhs), dtype)
        made = run(put(a, mesh, "x", None), put(b, mesh))
        x, inverse, triangle, whitened, unwhitened = map(np.asarray, made)
        assert_solves(a, x, b)
        assert_inverse(a, inverse)
        assert_factor(a, triangle)
        assert_solves(triangle, whitened, b)
        assert_solves(triangle.conj().T, unwhitened, b)


@pytest.mark.parametrize(("ranks", "dtype"), RANKS_AND_DTYPES)
def test_general_systems_of_several_tiles(make_mesh, ranks, dtype):
    mesh = make_mesh(ranks)

    @jax.jit
    def run(a, triangle, b):
        factor = linalg.lu_factor(a)
        solutions = linalg.solve(a, b), *(factor.solve(b, trans=trans) for trans in range(3))
        y = linalg.solve_triangular(triangle, b, lower=True)
        return solutions, factor.inv(), factor.pivots, y

    for n, nrhs in ((1000, 1), (777, 130)):
        a, b = gaussian((n, n), dtype), gaussian((n, nrhs), dtype, 1)
        triangle = np.tril(a)
        np.fill_diagonal(triangle, 100)  # well-conditioned
        a += np.diag(np.full(n, 2 * np.sqrt(n)))[:, ::-1].astype(dtype)
        made = run(put(a, mesh, "x", None), put(triangle, mesh, "x", None), put(b, mesh))
        solutions, inverse, pivots, y = jax.tree.map(np.asarray, made)
        for x, matrix in zip(solutions, (a, a, a.T, a.conj().T), strict=True):
            assert_solves(matrix, x, b)
        assert_solves(a, inverse, np.eye(n, dtype=dtype))
        assert_solves(triangle, y, b)
        assert (pivots != np.arange(n)).any()


@pytest.mark.parametrize(("ranks", "dtype"), RANKS_AND_DTYPES)
def test_qr_of_several_tiles(make_mesh, ranks, dtype):
    mesh = make_mesh(ranks)

    @jax.jit
    def run(a, b):
        solutions = [linalg.lstsq(a, b, method=method).x for method in ("svd", "qr")]
        return *linalg.qr(a), linalg.qr(a, mode="r"), *solutions

    singular = gaussian((5000, 40), dtype)
    singular[:, 20:] = singular[:, :20]
    tall, wide = gaussian((20001, 60), dtype), gaussian((300, 900), dtype)
    for a in (gaussian((1000, 1000), dtype), gaussian((1400, 900), dtype), tall, singular, wide):
        b = gaussian((len(a), 2), dtype, 1)
        made = run(put(a, mesh, "x", None), put(b, mesh))
        q, r, alone, *solutions = map(np.asarray, made)
        unit = 30 * max(a.shape) * np.finfo(dtype).eps
        assert np.linalg.norm(q @ r - a) <= unit * np.linalg.norm(a)
        assert np.linalg.norm(q.conj().T @ q - np.eye(q.shape[1])) <= unit
        assert np.linalg.norm(alone - r) <= 100 * unit * np.linalg.norm(r)
        for x in solutions if a is not singular else []:
            # The residual is orthogonal to A, or 0.
            error = a.conj().T @ (a @ x - b) if len(a) >= a.shape[1] else a @ x - b
            assert np.linalg.norm(error) <= 10 * unit * np.linalg.norm(a) ** 2 * np.linalg.norm(x)


def test_derivatives_agree_with_the_cpu(make_mesh, ranks):
    a, b = positive_definite(300), gaussian((300,))

    def loss(a, b):
        factor = linalg.cho_factor(a)
        general = linalg.solve(2 * jax.numpy.triu(a) - a, b).sum() + linalg.slogdet(a)[1]
        return general + factor.solve(b).sum() + factor.logdet() + (factor.lower() ** 2).sum()

    gradients = [
        jax.jit(jax.grad(loss))(put(a, mesh, "x", None), put(b, mesh))
        for mesh in (make_mesh(ranks), Mesh(np.array(jax.devices("cpu")[:ranks]), ("x",)))
    ]
    on_gpu, on_cpu = map(np.asarray, gradients)
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-9, atol=1e-9)


def test_the_same_bits_every_time(make_mesh, ranks):
    """Only the first call keeps its ranks in step."""
    mesh = make_mesh(ranks)
    a, b = put(positive_definite(900), mesh, "x", None), put(gaussian((900, 2)), mesh)
    calls = [solve(a, b, tile=50) for _ in range(12)]
    for x in calls[1:]:
        np.testing.assert_array_equal(x, calls[0])


def test_devices_in_any_order(devices):
    if len(devices) < 2:
        pytest.skip("needs 2 GPUs")
    a, b = positive_definite(300), gaussian((300, 2))
    for order in (devices[::-1], devices[1:] + devices[:1], devices[1:2]):
        mesh = Mesh(np.array(order), ("x",))
        assert_solves(a, solve(put(a, mesh, "x", None), put(b, mesh)), b)


def test_two_threads_with_large_systems(make_mesh):
    mesh = make_mesh(2)
    errors = []

    def work(n):
        try:
            a, b = positive_definite(n, seed=n), gaussian((n, 2))
            operands = put(a, mesh, "x", None), put(b, mesh)
            for _ in range(8):
                assert_solves(a, solve(*operands), b)
        except BaseException as error:  # Handed to the main thread.
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in (1200, 1700)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_without_access_to_each_others_memory(make_mesh, ranks, monkeypatch):
    """NCCL transfers the blocks, also within one process."""
    mesh = make_mesh(ranks)
    monkeypatch.setenv("JAXMG_TRANSPORT", "nccl")
    for n, nrhs in ((24, 1), (700, 3), (513, 150)):
        a, b = positive_definite(n), gaussian((n, nrhs))
        operands = put(a, mesh, "x", None), put(b, mesh)
        for _ in range(3):
            assert_solves(a, solve(*operands), b)
    monkeypatch.delenv("JAXMG_TRANSPORT")
    assert_solves(a, solve(*operands), b)


def test_an_unknown_transport(make_mesh, monkeypatch):
    mesh = make_mesh(2)
    a, b = put(positive_definite(24), mesh, "x", None), put(gaussian((24,)), mesh)
    monkeypatch.setenv("JAXMG_TRANSPORT", "pigeons")
    with pytest.raises(JaxRuntimeError, match="JAXMG_TRANSPORT must be 'auto' or 'nccl'"):
        jax.block_until_ready(solve(a, b))


@pytest.mark.parametrize(("ranks", "dtype"), RANKS_AND_DTYPES)
def test_eigenproblems_of_several_panels(make_mesh, ranks, dtype):
    mesh = make_mesh(ranks)
    for n in (70, 513):
        a = hermitian(n, dtype)
        operand = put(a, mesh, "x", None)
        assert_eigen(a, *linalg.eigh(operand))
        assert_eigenvalues(a, linalg.eigvalsh(operand))
        assert_eigenvalues(
            a, linalg.eigh(operand, subset_by_index=(3, 9)).eigenvalues, slice(3, 10)
        )


def test_eigenproblems_without_access_to_each_others_memory(make_mesh, ranks, monkeypatch):
    mesh = make_mesh(ranks)
    monkeypatch.setenv("JAXMG_TRANSPORT", "nccl")
    a = hermitian(300)
    for _ in range(2):
        assert_eigen(a, *linalg.eigh(put(a, mesh, "x", None)))


@pytest.mark.parametrize(("ranks", "dtype"), RANKS_AND_DTYPES)
def test_one_gpu_decomposes_for_all(make_mesh, ranks, dtype):
    """Eigenvectors and left singular vectors return to all GPUs by rows, which may be uneven."""
    mesh = make_mesh(ranks)
    with jaxmg.config.using(one_rank_up_to=100):
        for n in (3, 64, 71):
            a, general = hermitian(n, dtype), gaussian((n, n), dtype)
            operand = put(a, mesh, "x", None)
            assert_eigen(a, *linalg.eigh(operand))
            assert_eigenvalues(a, linalg.eigvalsh(operand))
            u, s, vh = map(np.asarray, linalg.svd(put(general, mesh, "x", None)))
            unit = 30 * n * np.finfo(dtype).eps
            assert np.linalg.norm(u * s @ vh - general) <= unit * np.linalg.norm(general)
            for unitary in (u, vh):
                assert np.linalg.norm(unitary @ unitary.conj().T - np.eye(n)) <= unit


def test_peak_memory_of_eigenvectors_agrees_with_the_plan(make_mesh):
    mesh = make_mesh(1)
    device = mesh.devices.flat[0]
    # Large enough for each peak to exceed all earlier ones.
    for n, donate in ((12000, True), (14000, False)):
        a = put(hermitian(n), mesh, "x", None)
        plan = jaxmg.plan("syevd", (n, n), a.dtype, mesh)
        before = device.memory_stats()["peak_bytes_in_use"]
        jax.block_until_ready(linalg.eigh(a, donate=donate))
        peak = device.memory_stats()["peak_bytes_in_use"]
        kept = 0 if donate else plan.shard_bytes
        assert peak > before
        assert peak == pytest.approx(kept + plan.total_bytes, rel=0.01)


def test_the_gpus_of_a_process_meet_without_a_collective(make_mesh, ranks):
    mesh = make_mesh(ranks)
    a = put(positive_definite(64), mesh, "x", None)
    rights = [gaussian((64, 2), seed=seed) for seed in range(3)]
    program = jax.jit(lambda a, rights: [solve(a, b) for b in rights])
    text = program.lower(a, rights).compile().as_text()
    assert "all-gather" not in text and "jaxmg_roll_call" not in text
    for _ in range(20):  # Calls of one kind are told apart by their order.
        for x, b in zip(program(a, rights), rights, strict=True):
            assert_solves(a, x, b)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_batch_is_solved_at_once(make_mesh, ranks, dtype):
    mesh, size = make_mesh(ranks), 9 * ranks - 1
    a = np.stack([positive_definite(64, dtype, seed) for seed in range(size)])
    b = gaussian((size, 64, 2), dtype)
    run = jax.jit(jax.vmap(lambda a, b: solve(a, b, return_info=True)))
    with jaxmg.config.using(one_rank_up_to=64):
        x, info = run(put(a, mesh, "x", None, None), b)
        for of_one in zip(a, x, b, strict=True):
            assert_solves(*of_one)
        np.testing.assert_array_equal(info, 0)
        a[3, 5, 5] = -1
        x, info = run(put(a, mesh, "x", None, None), b)
    np.testing.assert_array_equal(info, np.where(np.arange(size) == 3, 6, 0))
    assert np.isnan(x[3]).all() and np.isfinite(np.delete(x, 3, axis=0)).all()
