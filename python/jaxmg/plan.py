"""Estimates of the memory and the time of a call before it is made."""

import operator
from dataclasses import dataclass, replace

import jax
import numpy as np
from jax.sharding import Mesh

from jaxmg._arguments import ArgumentError, positive_int
from jaxmg._config import check_refinement
from jaxmg._linalg import refinement
from jaxmg._linalg.options import Options, takes
from jaxmg._planning import backends, qr_memory
from jaxmg._planning.precision import Precision
from jaxmg._supported import DTYPES, PLATFORMS

__all__ = ["Plan", "plan"]

_GIB = 2**30
_REFINED = {"potrs": "pos", "gesv": "gen"}
_VECTORS = {"syevd": "eigenvectors", "gesvd": "singular vectors"}


@dataclass(frozen=True)
class Plan:
    """Memory and time of one call.

    Attributes
    ----------
    routine, shape, dtype, nrhs
        The planned call; for "syevd" and "gesvd", nrhs is the number of eigenvectors or singular
        vectors.
    ranks : int
        Number of devices.
    ranks_at_work : int
        1 if one device gathers the matrix and solves alone, otherwise `ranks`.
    tile : int
        Width of the tile columns.
    shard_bytes, rhs_bytes, workspace_bytes : int
        Bytes on each device: its shard of the matrix, the right-hand sides (or eigenvalues and
        eigenvectors), the workspace. For QR, the workspace includes R and copies of the matrix that
        the program needs, which `workspace_limit` does not limit.
    total_bytes : int
        Their sum: the peak memory of a call with a donated matrix.
    kept_bytes : int
        Bytes of the caller's matrix on each device, in addition, if it is not donated; 0 for
        routines that only read the matrix or factor. `qr` may need them even if the matrix is
        donated: XLA does not turn rows into columns in place.
    seconds : float
        Estimated time of a call from Python, compiled and called before.
    backend, reason : str
        The backend, and the reason for its choice.
    refine : str
        Precision of the factor, or "off"; the workspace then includes the factor.
    """

    routine: str
    shape: tuple[int, int]
    dtype: str
    nrhs: int
    ranks: int
    tile: int
    shard_bytes: int
    rhs_bytes: int
    workspace_bytes: int
    seconds: float
    backend: str
    reason: str
    ranks_at_work: int
    refine: str = "off"
    kept_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        return self.shard_bytes + self.rhs_bytes + self.workspace_bytes

    @property
    def _at_work(self) -> str:
        if self.ranks_at_work == self.ranks:
            return ""
        return "; 1 device works for all: together they are slower for so small a matrix"

    def __str__(self) -> str:
        vectors = _VECTORS.get(self.routine, "right-hand sides")
        refined = "" if self.refine == "off" else f", refined from {self.refine}"
        return (
            f"{self.routine} of {self.shape[0]} x {self.shape[1]} {self.dtype}, "
            f"{_counted(self.nrhs, vectors)}{refined}, on {_counted(self.ranks, 'devices')}: "
            f"tile {self.tile}; "
            f"per device "
            f"{self.total_bytes / _GIB:.3g} GiB (matrix {self.shard_bytes / _GIB:.3g}, {vectors} "
            f"{self.rhs_bytes / _GIB:.3g}, workspace {self.workspace_bytes / _GIB:.3g}); "
            f"about {self.seconds:.3g} s with {self.backend} ({self.reason}){self._at_work}"
        )


@takes("tile", "backend", "refine", "workspace_limit")
def plan(
    routine,
    shape,
    dtype,
    devices,
    *,
    nrhs=1,
    vectors=None,
    hosts=1,
    platform=None,
    options: Options,
) -> Plan:
    """Estimate the memory and the time of a call without making it.

    Parameters
    ----------
    routine : str
        For general matrices, "gesv" is `jaxmg.linalg.solve`, "getrf" `jaxmg.linalg.lu_factor`,
        "getrs" `jaxmg.linalg.lu_solve` and "getri" `jaxmg.linalg.inv`; "trtrs" is
        `jaxmg.linalg.solve_triangular` with a matrix. For matrices of any shape, "geqrf" is
        `jaxmg.linalg.qr` with ``mode="r"``, "orgqr" `jaxmg.linalg.qr`, and "gels"
        `jaxmg.linalg.lstsq` with ``method="qr"``. For positive definite matrices, "potrs" is
        `jaxmg.linalg.solve` with ``assume_a="pos"`` and `jaxmg.potrs`, "potri"
        `jaxmg.linalg.inv` and `jaxmg.potri`; "cho_factor", "cho_solve" and "cholesky" are the
        functions of `jaxmg.linalg`. "syevd" is the eigensolver, `jaxmg.linalg.eigh`,
        `jaxmg.linalg.eigvalsh` and `jaxmg.syevd`. "gesvd" is `jaxmg.linalg.svd` and
        `jaxmg.linalg.svdvals`, and "polar" `jaxmg.linalg.polar`, of matrices of any shape: a matrix
        that is not square is factored by "orgqr" or "geqrf" first, which is part of the plan.
    shape : (int, int)
        Shape of the matrix.
    dtype : dtype
        float32, float64, complex64 or complex128.
    devices : int, Mesh, or list or tuple of devices
        An int is the number of devices of `platform`.
    nrhs : int
        Number of right-hand sides, for solves.
    vectors : int, optional
        Number of eigenvectors, for "syevd": 0 for eigenvalues only; by default all. For "gesvd", 0
        or all singular vectors.
    hosts : int
        Number of machines, or of NVLink domains, among which the devices are divided evenly. They
        are connected by a network, assumed to have one 400 Gbit/s adapter per device. It only
        affects the estimated time.
    platform : {"cpu", "gpu"}, optional
        Platform of the devices if `devices` is an int; by default JAX's default backend.
    {options}

    Returns
    -------
    Plan
        Immutable; ``print`` shows it on one line.

    Raises
    ------
    ValueError
        If an argument is out of range, no plan satisfies `workspace_limit`, or `backend` does not
        support the call.
    TypeError
        If the dtype is not supported, or `devices` has an invalid type.
    RuntimeError
        If `backend` is not available here.

    Notes
    -----
    Up to a measured order, which depends on routine and dtype, one device works for all: it gathers
    the matrix, solves, and sends the result back. `ranks_at_work` is then 1, and the workspace has
    room for the whole matrix. A `tile` narrower than the rows of a device, a `workspace_limit`
    without that room, or ``one_rank_up_to=0`` in `jaxmg.config` makes all devices work.

    With `refine`, for "potrs" and "gesv" only, the time assumes a condition of at most 1e6 (1e4 for
    "tf32"): few iterations, and no fall-back.
    ``jaxmg.config.refine`` has no effect here.

    The bytes of "geqrf" and "orgqr" are exact for square and tall matrices and upper bounds for
    others, as are the bytes of "gesvd" without vectors for matrices that are not square. For
    "polar" of such matrices, they lack the arrays around the square factor, and are too small.

    With "cusolvermp", the workspace queries of the library run on the GPUs: with several processes,
    all of them must plan.

    Examples
    --------
    >>> jaxmg.plan("potrs", (1000, 1000), "float64", 4).ranks
    4
    """
    if routine not in backends.STEPS:
        raise ValueError(f"routine must be one of {tuple(backends.STEPS)}, got {routine!r}")
    rectangular = routine in backends.RECTANGULAR
    by_factor = routine in backends.SQUARE_FACTORS
    if len(shape) != 2 or (not (rectangular or by_factor) and shape[0] != shape[1]):
        kind = "a matrix" if rectangular or by_factor else "a square matrix"
        raise ArgumentError(f"shape must be the shape of {kind}, got {tuple(shape)}")
    m, n = (positive_int(size, "shape") for size in shape)
    dtype = np.dtype(dtype)
    if dtype not in DTYPES:
        expected = ", ".join(str(supported) for supported in DTYPES)
        raise TypeError(f"dtype must be one of {expected}; got {dtype}")
    ranks, platform, processes = _count(devices, platform)
    if vectors is not None and routine not in _VECTORS:
        raise ValueError(f"vectors supports only the routines {tuple(_VECTORS)}, got {routine!r}")
    if routine in _VECTORS:
        nrhs = _number_of_vectors(vectors, min(m, n))
    else:
        nrhs = positive_int(nrhs, "nrhs")
    tile = positive_int(options.tile, "tile") or 0
    limit = positive_int(options.workspace_limit, "workspace_limit") or 0
    hosts = positive_int(hosts, "hosts")
    order, rows = backends.sizes(routine, shape)
    request = backends.Request(order, nrhs, dtype, ranks, platform, processes, hosts, rows)
    chosen = backends.choose(routine, request, options.backend)
    limits = dict(tile=tile, workspace_limit=limit)
    steps = backends.plan_steps(chosen.name, routine, request, **limits)
    if by_factor and m != n:
        first = "geqrf" if routine == "gesvd" and nrhs == 0 else "orgqr"
        of_qr = replace(request, count=1, rows=max(m, n))
        steps += backends.plan_steps(chosen.name, first, of_qr, **limits)
    refined = _precision(routine, request, chosen.name, steps, limits, options.refine or "off")
    if refined is None:
        of_matrix = called = steps
        workspace = max(step.workspace_bytes for step in steps)
        seconds = sum(step.seconds for step in steps)
    else:
        positive, *sizes = _of_refined(routine, request, chosen.name, limits)
        steps = refinement.steps(refined, positive, *sizes)
        of_matrix = steps[-1:]
        workspace = refinement.workspace_bytes(steps)
        seconds = refinement.seconds(refined, positive, steps)
        called = steps[:-1]  # all but the fall-back
    tall = chosen.name == "tiled" and rectangular and backends.is_tall(routine, request)
    reads_only = routine in backends.READ_ONLY
    if rectangular and not tall:
        peak = qr_memory.peak(routine, (m, n), dtype.itemsize, ranks, steps)
        held = max(step.shard_bytes for step in steps) + max(step.rhs_bytes for step in steps)
        workspace = max(workspace, peak - held)
    elif tall and backends.without_q(routine, request):
        if m >= n:
            reads_only = True
        else:  # The adjoint of A is made, and kept beside Q.
            of_matrix = [backends.plan_step("tall_gels", request, **limits)]
            workspace = of_matrix[0].workspace_bytes
    elif routine == "gesvd" and m != n:
        # R beside its decomposition and Q, and U beside Q and the singular vectors of R.
        square = steps[0].shard_bytes
        u = qr_memory.shard_bytes(max(m, n), min(m, n), dtype.itemsize, ranks)
        workspace = max(workspace, steps[0].workspace_bytes + square + u if nrhs else square)
    kept = 0 if reads_only else qr_memory.shard_bytes(m, n, dtype.itemsize, ranks)
    return Plan(
        routine=routine,
        shape=(m, n),
        dtype=str(dtype),
        nrhs=nrhs,
        ranks=ranks,
        tile=steps[0].tile,
        shard_bytes=max(step.shard_bytes for step in of_matrix),
        rhs_bytes=max(step.rhs_bytes for step in (*steps, *of_matrix)),
        workspace_bytes=workspace,
        seconds=seconds + sum(step.call_seconds for step in called),
        backend=chosen.name,
        reason=chosen.reason,
        ranks_at_work=min(step.ranks_at_work for step in steps),
        refine="off" if refined is None else refined.name,
        kept_bytes=kept,
    )


def _precision(routine, request, backend, steps, limits, asked) -> Precision | None:
    """Return the precision of the factor if the solution is refined, or None."""
    if check_refinement(asked) == "off":
        return None
    if routine not in _REFINED:
        raise ValueError(
            f"refine={asked!r} supports only the routines {tuple(_REFINED)}, got {routine!r}"
        )
    reason = refinement.why_not(asked, _REFINED[routine], request.dtype)
    if reason is not None:
        raise ValueError(reason)
    if asked != "auto":
        return Precision(asked)
    expected = refinement.expected_seconds(*_of_refined(routine, request, backend, limits))
    return refinement.fastest(expected, sum(step.seconds for step in steps))


def _of_refined(routine, request, backend, limits) -> tuple:
    """Return the arguments of `refinement.steps` after the precision."""

    def plan_for(step, n, count, dtype, **arguments):
        of_step = replace(request, n=n, count=count, dtype=np.dtype(dtype))
        by = backends.of_step(backend, step) if step in ("posv", "gesv") else "tiled"
        return backends.plan_step(step, of_step, backend=by, **limits, **arguments)

    positive = _REFINED[routine] == "pos"
    return positive, request.n, request.count, request.dtype, request.platform, plan_for


def _counted(number: int, things: str) -> str:
    return f"{number} {things.removesuffix('s') if number == 1 else things}"


def _number_of_vectors(vectors, n: int) -> int:
    number = n if vectors is None else operator.index(vectors)
    if not 0 <= number <= n:
        raise ValueError(f"vectors must be from 0 to {n}, got {number}")
    return number


def _count(devices, platform) -> tuple[int, str, int]:
    """Return the number of devices, their platform and their number of processes."""
    if isinstance(devices, Mesh):
        devices = list(devices.devices.flat)
    if isinstance(devices, (list, tuple)):
        if not devices:
            raise ValueError("devices must not be empty")
        if platform not in (None, devices[0].platform):
            raise ValueError(
                f"platform is {platform!r}, but devices are of platform {devices[0].platform!r}; "
                "leave it out"
            )
        processes = len({device.process_index for device in devices})
        return len(devices), devices[0].platform, processes
    platform = jax.default_backend() if platform is None else platform
    if platform not in PLATFORMS:
        raise ValueError(f"platform must be one of {tuple(PLATFORMS)}, got {platform!r}")
    return positive_int(devices, "devices"), platform, 1
