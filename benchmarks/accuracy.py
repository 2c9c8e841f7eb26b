"""Measured accuracy for hard matrices, beside LAPACK's, as a table in results/.

    python benchmarks/accuracy.py [--n 256] [--dtype float64] [--devices 4]

Residuals and losses of orthogonality are in units of N eps and of the norm of A; LAPACK's own tests
require them to be below 30. All devices work, however small the matrix. The exit status is 1 if
a result of jaxmg is above 30, except for LU of Wilkinson's matrix, whose pivots grow by design.
"""

import argparse
import datetime
import sys
from pathlib import Path

import jax
import numpy as np
import scipy.linalg
from hardware import describe, short_name
from jax.sharding import Mesh, NamedSharding, PartitionSpec

THRESHOLD = 30


def with_singular_values(values, m=None, seed=1):
    """Return an m x n matrix with (about) these singular values."""
    n = len(values)
    random = np.random.default_rng(seed)
    u, _ = np.linalg.qr(random.standard_normal((m or n, n)))
    v, _ = np.linalg.qr(random.standard_normal((n, n)))
    return (u * values) @ v.T


def with_eigenvalues(values, seed=2):
    """Return a symmetric matrix with (about) these eigenvalues."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values),) * 2))
    a = (q * values) @ q.T
    return (a + a.T) / 2


def general(n):
    growth = np.eye(n) - np.tril(np.ones((n, n)), -1)
    growth[:, -1] = 1  # the last column doubles in every step of partial pivoting
    random = np.random.default_rng(0).standard_normal((n, n))
    return {
        "random": random,
        "condition 1e12": with_singular_values(np.logspace(0, -12, n)),
        "columns graded from 1 to 1e-12": random * np.logspace(0, -12, n),
        "Wilkinson's, growth 2^(N-1) by columns": growth,
        "its transpose, growth 2^(N-1) by rows": growth.T,
    }


def positive(n):
    x = np.linspace(0, 1, n)
    return {
        "random": with_eigenvalues(np.random.default_rng(0).uniform(1, 2, n)),
        "condition 1e12": with_eigenvalues(np.logspace(0, -12, n)),
        "Gaussian kernel + 1e-10": np.exp(-((x[:, None] - x) ** 2) * 50) + 1e-10 * np.eye(n),
        "Hilbert + 1e-12": scipy.linalg.hilbert(n) + 1e-12 * np.eye(n),
    }


def rectangular(n):
    return {
        "random, square": np.random.default_rng(0).standard_normal((n, n)),
        "random, 8 N x N": np.random.default_rng(0).standard_normal((8 * n, n)),
        "condition 1e12, 8 N x N": with_singular_values(np.logspace(0, -12, n), 8 * n),
        "rank N / 4": with_singular_values(np.arange(n) < n // 4),
    }


def hermitian(n):
    eps = np.finfo(np.float64).eps
    random = np.random.default_rng(0).standard_normal(n)
    offsets = np.eye(n, k=1) + np.eye(n, k=-1)
    return {
        "random": with_eigenvalues(random),
        "graded from 1 to 1e-12": with_eigenvalues(np.logspace(0, -12, n)),
        "one cluster": with_eigenvalues(1 + n * eps * np.linspace(-1, 1, n)),
        "repeated tenfold": with_eigenvalues(np.arange(n) // 10),
        "rank N / 10": with_eigenvalues(np.where(np.arange(n) < n // 10, 1.0, 0.0)),
        "Wilkinson's W+": np.diag(np.abs(np.arange(n) - (n - 1) / 2)) + offsets,
    }


def arbitrary(n):
    return {
        "random": np.random.default_rng(0).standard_normal((n, n)),
        "condition 1e12": with_singular_values(np.logspace(0, -12, n)),
        "one cluster": with_singular_values(1 + 1e-14 * np.arange(n)),
        "rank N / 4": with_singular_values(np.arange(n) < n // 4),
        "3 N x N": np.random.default_rng(0).standard_normal((3 * n, n)),
    }


# Each measurement returns the residual, and the loss of orthogonality if there is any, both without
# units.


def of_solution(a, b, x):
    return (np.linalg.norm(a @ x - b, 1) / (np.linalg.norm(a, 1) * np.linalg.norm(x, 1)),)


def orthogonality(q):
    return np.linalg.norm(q.T @ q - np.eye(q.shape[1]), 2)


def of_qr(a, q, r):
    return np.linalg.norm(q @ r - a, 2) / np.linalg.norm(a, 2), orthogonality(q)


def of_eigenvectors(a, w, v):
    return np.linalg.norm(a @ v - v * w, 2) / np.linalg.norm(a, 2), orthogonality(v)


def of_svd(a, u, s, vh):
    residual = np.linalg.norm((u * s) @ vh - a, 2) / np.linalg.norm(a, 2)
    return residual, max(orthogonality(u), orthogonality(vh.T))


def of_polar(a, u, h):
    return np.linalg.norm(u @ h - a, 2) / np.linalg.norm(a, 2), orthogonality(u)


def syevd(a):
    return scipy.linalg.eigh(a, driver="evd")


def rows(linalg, n, place):
    """Yield (call, matrix, ours, LAPACK's) for all matrices."""

    def outcome(measure, a, result, *leading):
        exact = [np.asarray(part, dtype=np.float64) for part in result]
        return measure(np.asarray(a, dtype=np.float64), *leading, *exact)

    for title, matrices, assume_a in (
        ("solve", general(n), "gen"),
        ('solve, assume_a="pos"', positive(n), "pos"),
    ):
        for name, a in matrices.items():
            a, placed = place(a)
            b = np.random.default_rng(3).standard_normal(n).astype(a.dtype)
            ours = linalg.solve(placed, b, assume_a=assume_a)
            theirs = scipy.linalg.solve(a, b, assume_a=assume_a)
            yield (
                title,
                name,
                outcome(of_solution, a, [ours], np.asarray(b, dtype=np.float64)),
                outcome(of_solution, a, [theirs], np.asarray(b, dtype=np.float64)),
            )
    for title, matrices, measure, function, reference in (
        ("qr", rectangular(n), of_qr, linalg.qr, lambda a: scipy.linalg.qr(a, mode="economic")),
        ("eigh", hermitian(n), of_eigenvectors, linalg.eigh, syevd),
        ("svd", arbitrary(n), of_svd, linalg.svd,
         lambda a: scipy.linalg.svd(a, full_matrices=False)),
        ("polar", arbitrary(n), of_polar, linalg.polar, scipy.linalg.polar),
    ):  # fmt: skip
        for name, a in matrices.items():
            a, placed = place(a)
            yield (
                title,
                name,
                outcome(measure, a, function(placed)),
                outcome(measure, a, reference(a)),
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=256)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float64")
    parser.add_argument("--devices", type=int, default=4)
    options = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", options.devices)
    jax.config.update("jax_enable_x64", True)
    import jaxmg

    jaxmg.config.update("one_rank_up_to", 0)
    devices = jax.devices()[: options.devices]
    mesh = Mesh(devices, ("x",))
    dtype = np.dtype(options.dtype)
    unit = options.n * np.finfo(dtype).eps

    def place(a):
        a = np.ascontiguousarray(a, dtype=dtype)
        return a, jax.device_put(a, NamedSharding(mesh, PartitionSpec("x", None)))

    machine = {
        "platform": devices[0].platform,
        "devices": len(devices),
        "kind": devices[0].device_kind,
    }
    now = datetime.datetime.now(datetime.timezone.utc)
    lines = [
        "# Accuracy",
        "",
        f"- date: {now.isoformat(' ', 'seconds')}",
        f"- hardware: {describe(machine)}",
        f"- jax: {jax.__version__}",
        f"- jaxmg: {jaxmg.__version__}",
        f"- command: `{' '.join(['python benchmarks/accuracy.py', *sys.argv[1:]])}`",
        f"- N = {options.n}, {dtype}, all devices at work. Units are N eps |A| for residuals and "
        "N eps for orthogonality; LAPACK's tests require less than 30. LAPACK is SciPy's.",
        "",
        "| function | matrix | residual | LAPACK's | orthogonality | LAPACK's |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    too_large = []
    for title, name, ours, theirs in rows(jaxmg.linalg, options.n, place):
        ours, theirs = ([value / unit for value in values] for values in (ours, theirs))
        cells = [f"`{title}`", name]
        for pair in zip(ours, theirs, strict=True):
            cells += [f"{value:.2g}" for value in pair]
        cells += [""] * (6 - len(cells))
        lines.append("| " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
        if not max(ours) <= THRESHOLD and "growth" not in name:
            too_large.append(f"{title}, {name}")
    name = f"{now:%Y-%m-%d}_{short_name(machine)}_accuracy.md"
    (Path(__file__).parent / "results" / name).write_text("\n".join(lines) + "\n")
    sys.exit(f"above {THRESHOLD}: {'; '.join(too_large)}" if too_large else 0)


if __name__ == "__main__":
    main()
