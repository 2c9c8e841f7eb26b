"""The measured routines: default sizes, operation counts, and text for tables.

A routine's name is also the name of its task in measure.py, and the first argument of the programs
in benchmarks/peers/. `jax` is its counterpart in JAX, on one device.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Sweep:
    """Default orders: float64, float64 on one device besides several, other dtypes."""

    sizes: tuple[int, ...]
    single: tuple[int, ...]
    other: int


@dataclass(frozen=True, eq=False)
class Routine:
    name: str
    title: str
    jax: str
    timed: str
    calls: str
    operations: Callable[[int, int], float]  # of N and nrhs, for real types
    counts: str
    residual: str
    given: str  # the caller's arrays in memory, besides the arrays of the call
    sweeps: dict[str, Sweep]
    rhs: tuple[str, ...] = ()  # default numbers of right-hand sides
    stages: bool = False  # whether a program of stages/ measures its stages
    plan: str = ""  # its name in jaxmg.plan, if it is another one
    values_only: bool = False  # no eigenvectors or singular vectors
    factor: str = ""  # name in jaxmg.plan of the factorisation, if that is made before
    tall: bool = False  # N x TALL_COLUMNS

    def flops(self, job) -> float:
        """Operations of a job, a complex multiply-add counting as eight."""
        count = self.operations(job.n, job.nrhs)
        return count * (4 if job.dtype.startswith("complex") else 1)


_SOLVES = {
    "gpu": Sweep((1024, 4096, 16384, 32768, 65536), (16384, 32768), 32768),
    "cpu": Sweep((512, 1024, 2048, 4096), (1024, 4096), 2048),
}
# For routines that take several times as long, or are measured several times.
_SHORTER = {
    "gpu": Sweep((1024, 4096, 16384, 32768), (16384, 32768), 16384),
    "cpu": Sweep((512, 1024, 2048), (1024, 2048), 1024),
}
_EIGENPROBLEMS = {
    "gpu": Sweep((1024, 4096, 8192, 16384), (8192, 16384), 8192),
    "cpu": Sweep((256, 512, 1024), (512, 1024), 512),
}

# Columns of tall matrices, whose number of rows is N.
TALL_COLUMNS = 1024
_TALL = {
    "gpu": Sweep((262144, 1048576), (262144, 1048576), 1048576),
    "cpu": Sweep((8192, 32768), (32768,), 8192),
}

_CALLS_ON_A = (
    "their matrix is not donated, so their time includes a copy of it, unless the note says so. "
    "NVIDIA's libraries are "
    "called from C++ on a matrix that is already distributed, and overwrite it."
)
_CALLS_ON_A_FACTOR = (
    "they read a factor that they made before. NVIDIA's libraries are called from C++ on a factor "
    "and right-hand sides that are already distributed, and overwrite the latter."
)
_A_FACTOR = "factor and right-hand sides"
_GENERAL_RESIDUAL = "|Ax-b| / (|A| |x|), |A| being |A|_F / sqrt(n)"
_EIGEN_COUNTS = (
    "by convention 4/3 n³ operations (the count of a reduction to tridiagonal form, whatever the "
    "solver does)"
)
_CALLS_ON_SVD = (
    "their matrix has a condition of about 1e8 and is not donated, so their time includes a copy."
)
_SVD_COUNTS = (
    "by convention 22 n³ operations (the count of a decomposition by bidiagonal form and QR, "
    "whatever the solver does)"
)

_ALL = (
    Routine(
        name="potrs",
        title="Cholesky solve",
        jax="cho_solve",
        timed="factorisation and solve together",
        calls=_CALLS_ON_A,
        operations=lambda n, nrhs: n**3 / 3 + 2 * n**2 * nrhs,
        counts="n³/3 + 2 n² nrhs operations",
        residual="|Ax-b| / (|A| |x|)",
        given="matrix and right-hand sides",
        sweeps=_SOLVES,
        rhs=("1",),
    ),
    Routine(
        name="cho_solve",
        title="Solve with an existing Cholesky factor",
        jax="cho_solve",
        timed="the solve alone",
        calls=_CALLS_ON_A_FACTOR,
        operations=lambda n, nrhs: 2 * n**2 * nrhs,
        counts="2 n² nrhs operations",
        residual="|Ax-b| / (|A| |x|)",
        given=_A_FACTOR,
        sweeps=_SHORTER,
        rhs=("1", "16", "N/16"),
        factor="cho_factor",
    ),
    Routine(
        name="potri",
        title="Cholesky inverse",
        jax="inv",
        timed="factorisation and inverse together",
        calls=_CALLS_ON_A + " They leave one triangle of the inverse, the others leave both.",
        operations=lambda n, nrhs: n**3,
        counts="n³ operations (n³/3 for the factor, 2n³/3 for its inverse)",
        residual="|Ax-b| / (|A| |x|), x = Xb: in JAX for a few random b, in C++ for columns of I",
        given="matrix",
        sweeps=_SHORTER,
    ),
    Routine(
        name="gesv",
        title="LU solve",
        jax="solve",
        timed="factorisation and solve together",
        calls=_CALLS_ON_A,
        operations=lambda n, nrhs: 2 * n**3 / 3 + 2 * n**2 * nrhs,
        counts="2n³/3 + 2 n² nrhs operations",
        residual=_GENERAL_RESIDUAL,
        given="matrix and right-hand sides",
        sweeps=_SHORTER,
        rhs=("1",),
    ),
    Routine(
        name="lu_solve",
        title="Solve with kept LU factors",
        jax="lu_solve",
        timed="the solve alone",
        calls=_CALLS_ON_A_FACTOR,
        operations=lambda n, nrhs: 2 * n**2 * nrhs,
        counts="2 n² nrhs operations",
        residual=_GENERAL_RESIDUAL,
        given=_A_FACTOR,
        sweeps=_SHORTER,
        rhs=("1", "16", "N/16"),
        plan="getrs",
        factor="getrf",
    ),
    Routine(
        name="geqrf",
        title="QR factorisation: R",
        jax="qr",
        timed="the factorisation, without Q",
        calls=_CALLS_ON_A,
        operations=lambda n, nrhs: 4 * n**3 / 3,
        counts="4n³/3 operations",
        residual="the difference of |Rb| and |Ab| / (|A| |b|), |A| being |A|_F / sqrt(n): in JAX "
        "for a few random b, in C++ for columns of I",
        given="matrix",
        sweeps=_SHORTER,
    ),
    Routine(
        name="orgqr",
        title="QR factorisation: Q and R",
        jax="qr",
        timed="factorisation and Q together",
        calls=_CALLS_ON_A,
        operations=lambda n, nrhs: 8 * n**3 / 3,
        counts="8n³/3 operations (4n³/3 for the factorisation, as many for Q)",
        residual="|QRb-Ab| / (|A| |b|), |A| being |A|_F / sqrt(n), the orthogonality "
        "|Q^H Qb-b| / |b|, for a few random b",
        given="matrix",
        sweeps=_SHORTER,
    ),
    Routine(
        name="gels",
        title="Least squares by QR",
        jax="lstsq",
        timed="factorisation and solve together. JAX's function uses the SVD",
        calls=_CALLS_ON_A,
        operations=lambda n, nrhs: 4 * n**3 / 3 + 5 * n**2 * nrhs,
        counts="4n³/3 + 5 n² nrhs operations",
        residual=_GENERAL_RESIDUAL,
        given="matrix and right-hand sides",
        sweeps=_SHORTER,
        rhs=("1",),
    ),
    Routine(
        name="gels_tall",
        title=f"Least squares by QR, N x {TALL_COLUMNS}",
        jax="lstsq",
        timed="factorisation and solve together. JAX's function uses the SVD",
        calls=_CALLS_ON_A,
        operations=lambda n, nrhs: 2 * n * TALL_COLUMNS * (TALL_COLUMNS + 2 * nrhs),
        counts=f"2 N k (k + 2 nrhs) operations, k = {TALL_COLUMNS}",
        residual="|Ax-b| / (|A| |x|), |A| being |A|_F / sqrt(k), for b in the range of A",
        given="matrix and right-hand sides",
        sweeps=_TALL,
        rhs=("1",),
        plan="gels",
        tall=True,
    ),
    Routine(
        name="syevd",
        title="Eigenvalues and eigenvectors",
        jax="eigh",
        timed="all steps together",
        calls=_CALLS_ON_A,
        operations=lambda n, nrhs: 4 * n**3 / 3,
        counts=_EIGEN_COUNTS,
        residual="|AVb-VΛb| / (|A| |b|), the orthogonality |V^H Vb-b| / |b|: in JAX for a few "
        "random b, in C++ for columns of I",
        given="matrix",
        sweeps=_EIGENPROBLEMS,
        stages=True,
    ),
    Routine(
        name="syevd_values",
        title="Eigenvalues",
        jax="eigvalsh",
        timed="all steps together",
        calls=_CALLS_ON_A,
        operations=lambda n, nrhs: 4 * n**3 / 3,
        counts=_EIGEN_COUNTS,
        residual="the larger difference of sum and 2-norm of λ from trace and |A|_F, over |A|_F",
        given="matrix",
        sweeps=_EIGENPROBLEMS,
        stages=True,
        plan="syevd",
        values_only=True,
    ),
    Routine(
        name="gesvd",
        title="Singular value decomposition",
        jax="svd",
        timed="all steps together",
        calls=_CALLS_ON_SVD,
        operations=lambda n, nrhs: 22 * n**3,
        counts=_SVD_COUNTS,
        residual="|(A - U S V^H) b| / (|A| |b|), the orthogonality |U^H U b - b| / |b|: for a few "
        "random b",
        given="matrix",
        sweeps=_EIGENPROBLEMS,
    ),
    Routine(
        name="svdvals",
        title="Singular values",
        jax="svdvals",
        timed="all steps together",
        calls=_CALLS_ON_SVD,
        operations=lambda n, nrhs: 8 * n**3 / 3,
        counts="by convention 8/3 n³ operations (a reduction to bidiagonal form)",
        residual="| |s| - |A|_F | / |A|_F",
        given="matrix",
        sweeps=_EIGENPROBLEMS,
        plan="gesvd",
        values_only=True,
    ),
    Routine(
        name="polar",
        title="Polar decomposition",
        jax="polar",
        timed="all steps together",
        calls=_CALLS_ON_SVD,
        operations=lambda n, nrhs: 22 * n**3,
        counts=_SVD_COUNTS,
        residual="|(A - U H) b| / (|A| |b|), the orthogonality |U^H U b - b| / |b|: for a few "
        "random b",
        given="matrix",
        sweeps=_EIGENPROBLEMS,
    ),
)

ROUTINES = {routine.name: routine for routine in _ALL}
