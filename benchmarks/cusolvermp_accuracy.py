"""Accuracy of cuSOLVERMp's eigenvectors for hard matrices, compared with jaxmg's own.

    python3 benchmarks/cusolvermp_accuracy.py [--devices 1] [--n 600] [--dtype float64]

For each matrix and each backend it prints ||A V - V W|| / (||A|| n eps) and
||V^H V - I|| / (n eps), which LAPACK's own tests require to be below 30, the error of the
eigenvalues against LAPACK's in units of ||A|| n eps, and info. The exit status is 1 if a result of
``tiled`` is above 30, or not finite; results of cuSOLVERMp are only reported.
"""

import argparse
import sys
import warnings

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

jax.config.update("jax_enable_x64", True)

import jaxmg  # noqa: E402
from jaxmg import linalg  # noqa: E402

THRESHOLD = 30


def with_eigenvalues(values, seed=1):
    """Return a symmetric matrix with (about) these eigenvalues."""
    values = np.asarray(values, dtype=np.float64)
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((values.size,) * 2))
    a = (q * values) @ q.T
    return (a + a.T) / 2


def matrices(n):
    eps = np.finfo(np.float64).eps
    random = np.random.default_rng(0)
    full = random.standard_normal((n, n))
    thin = random.standard_normal((n, n // 10))
    wilkinson = np.abs(np.arange(n) - (n - 1) / 2)
    return {
        "random": (full + full.T) / 2,
        "graded": with_eigenvalues(np.logspace(-12, 12, n)),
        "one cluster": with_eigenvalues(1 + n * eps * np.linspace(-1, 1, n)),
        "five clusters": with_eigenvalues(np.arange(n) % 5 + n * eps * random.standard_normal(n)),
        "repeated": with_eigenvalues(np.arange(n) // 10),
        "rank 1": np.outer(thin[:, 0], thin[:, 0]),
        "rank n / 10": thin @ thin.T,
        "Wilkinson": np.diag(wilkinson) + np.eye(n, k=1) + np.eye(n, k=-1),
        "Toeplitz (1, 2, 1)": 2 * np.eye(n) + np.eye(n, k=1) + np.eye(n, k=-1),
        "identity": np.eye(n),
        "diagonal": np.diag(np.arange(n, dtype=np.float64)),
        "zero": np.zeros((n, n)),
    }


def judge(a, w, v):
    """Return the residual, the orthogonality and the error of the eigenvalues."""
    n, precision = a.shape[0], np.finfo(a.dtype)
    eps = precision.eps
    a, v, w = (np.asarray(x, np.result_type(x.dtype, np.float64)) for x in (a, v, w))
    norm = max(np.linalg.norm(a), precision.tiny)
    residual = np.linalg.norm(a @ v - v * w) / (norm * n * eps)
    orthogonality = np.linalg.norm(v.conj().T @ v - np.eye(n)) / (n * eps)
    values = np.abs(w - np.linalg.eigvalsh(a)).max() / (norm * n * eps)
    return residual, orthogonality, values


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--n", type=int, default=600)
    parser.add_argument("--dtype", default="float64")
    options = parser.parse_args()
    warnings.simplefilter("ignore", jaxmg.JaxMgWarning)
    for backend in jaxmg.backends():
        print(backend)
    mesh = Mesh(np.array(jax.devices()[: options.devices]), ("x",))
    rows = NamedSharding(mesh, PartitionSpec("x", None))
    print(f"\nn = {options.n}, {options.dtype}, {options.devices} devices")
    print(f"{'matrix':20} {'backend':12} {'residual':>10} {'orthogon.':>10} {'values':>10} info")
    wrong = False
    for name, a in matrices(options.n).items():
        a = a.astype(options.dtype)
        for backend in ("tiled", "cusolvermp"):
            try:
                w, v, info = linalg.eigh(jax.device_put(a, rows), backend=backend, return_info=True)
                numbers = judge(a, np.asarray(w), np.asarray(v))
            except Exception as error:  # After any error, continue with the next matrix.
                print(f"{name:20} {backend:12} {type(error).__name__}: {str(error)[:80]}")
                wrong |= backend == "tiled"
                continue
            bad = not all(number <= THRESHOLD for number in numbers)
            wrong |= bad and backend == "tiled"
            cells = " ".join(f"{number:10.3g}" for number in numbers)
            print(f"{name:20} {backend:12} {cells} {int(info)}{'   <-- wrong' if bad else ''}")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
