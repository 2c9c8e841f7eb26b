"""Backends: their capabilities, their availability, and the choice of the backend of a call.

The native library lists the routines that each backend serves (cpp/routines/table.h). To add a
backend, add entries to `_VENDORS` here and to `_supported.BACKENDS`, and its C++ side
(cpp/routines/serve.h).
"""

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import numpy as np

from jaxmg import _config
from jaxmg._mesh.ranks import Ranks
from jaxmg._native import cuda, plans
from jaxmg._planning import cusolvermp
from jaxmg._version import __version__
from jaxmg._warning import JaxMgWarning

__all__ = ["Backend", "Choice", "Request", "backends", "choose"]

# Steps of each plannable routine: native routines, called one after another, under LAPACK's names.
# (Users plan `jaxmg.potrs`, which also factors, as "potrs".)
STEPS = {
    "potrs": ("posv",),
    "potri": ("potrf", "potri"),
    "cho_factor": ("potrf",),
    "cho_solve": ("potrs",),
    "cholesky": ("potrf", "lower"),
    "syevd": ("syevd",),
    "gesv": ("gesv",),
    "getrf": ("getrf",),
    "getrs": ("getrs",),
    "getri": ("getrf", "getri"),
    "trtrs": ("trtrs",),
    "gesvd": ("gesvd",),
    "polar": ("polar",),
    "geqrf": ("geqrf",),
    "orgqr": ("geqrf", "upper", "orgqr"),
    "gels": ("geqrf", "ormqr", "rtrs"),
}
# Routines of matrices of any shape; and whether "tsqr", which replaces their steps for a tall
# matrix, forms Q. Of least squares with few right-hand sides, other steps do.
RECTANGULAR = {"geqrf": False, "orgqr": True, "gels": True}
_SEMINORMAL = ("getsls",)
# Products with A that the seminormal equations take the place of Q with, about.
_SEMINORMAL_PRODUCTS = 8
# Routines that only read a factor.
READ_ONLY = ("cho_solve", "getrs")
# Routines of square matrices, and of the square factor R of others.
SQUARE_FACTORS = ("gesvd", "polar")
# "auto" requires another backend's expected time to be below this fraction of ours: models err.
_MARGIN = 0.8


@dataclass(frozen=True)
class Request:
    """The parameters of a call that the choice of its backend depends on."""

    n: int
    count: int  # right-hand sides, or eigenvectors
    dtype: np.dtype
    ranks: int
    platform: str
    processes: int
    hosts: int  # number of machines among which the ranks are divided
    rows: int = 0  # of a matrix of n columns; 0: it is square
    concurrent: int = 1  # calls like this one, on other devices at the same time, plus 1
    one_rank_up_to: int | None = field(default_factory=lambda: _config.config.one_rank_up_to)

    @classmethod
    def on(cls, ranks: Ranks, n: int, count: int, dtype, rows: int = 0) -> "Request":
        dtype, hosts = np.dtype(dtype), min(ranks.hosts, ranks.size)
        return cls(
            n,
            count,
            dtype,
            ranks.size,
            ranks.platform,
            ranks.processes,
            hosts,
            rows,
            ranks.concurrent,
        )


class Choice(NamedTuple):
    """A backend, and the reason for its choice."""

    name: str
    reason: str


def sizes(routine: str, shape) -> tuple[int, int]:
    """Return (n, rows) of the request of a routine for a matrix of any shape.

    Singular value and polar decompositions are made of the square factor R, and least-squares
    problems with a wide matrix are solved with its adjoint.
    """
    m, n = shape
    if routine in SQUARE_FACTORS:
        return min(m, n), 0
    if routine == "gels":
        return min(m, n), max(m, n)
    return n, m if routine in RECTANGULAR else 0


def choose(routine: str, request: Request, asked: str = "auto") -> Choice:
    """Return the backend for a call of `routine`, one of `STEPS` or "solve_triangular".

    `asked` is the caller's argument; "auto" selects ``jaxmg.config.backend``, and if that is also
    "auto", the backend with the shortest expected time. Raises ValueError if the requested backend
    does not support the call, RuntimeError if it is not available.
    """
    _config.check_backend(asked)
    by = "requested"
    if asked == "auto":
        asked = _config.config.backend
        by = f"set by {_config.config.origin('backend')}"
    if asked == "auto":
        return _fastest(routine, request)
    if asked != "tiled":
        _require(asked, routine, request, by)
    return Choice(asked, by)


def of_step(name: str, step: str) -> str:
    """Return the backend for one step of a call whose backend is `name`.

    Steps that a vendor's library lacks fall to "tiled": redistributing a factor, and some steps of
    derivatives.
    """
    return name if name in plans.routines()[step].served_by else "tiled"


def _fastest(routine: str, request: Request) -> Choice:
    others = [name for name in _VENDORS if _why_not(name, routine, request) is None]
    others = [name for name in others if routine not in _VENDORS[name].wrong]
    if not others or request.n == 0:
        return Choice("tiled", "no other backend serves this call")
    expected = {name: _seconds(name, routine, request) for name in ("tiled", *others)}
    times = ", ".join(f"{name} {seconds:.3g} s" for name, seconds in expected.items())
    limit = _MARGIN * expected.pop("tiled")
    for name in sorted(expected, key=expected.get):
        if expected[name] < limit and _availability(name)[1] is None:
            return Choice(name, f"fastest available backend by the planner's model: {times}")
    return Choice(
        "tiled", f"no available backend is clearly faster by the planner's model: {times}"
    )


def _seconds(name: str, routine: str, request: Request) -> float:
    """Return the time of a call by the planner's model of a backend."""
    if name == "tiled":
        return sum(step.seconds for step in plan_steps(name, routine, request))
    return sum(_vendors_seconds(name, step, request) for step in STEPS[routine])


def _vendors_seconds(name: str, step: str, request: Request) -> float:
    backend = of_step(name, step)
    if backend == "tiled":
        return plan_step(step, request, tile=0, workspace_limit=0).seconds
    sizes = (step, request.n, request.count, request.dtype)
    arguments = dict(ranks=request.ranks, hosts=request.hosts, backend=backend)
    if request.rows:
        arguments["m"] = request.rows
    return plans.plan(*sizes, **arguments).seconds


def is_tall(routine: str, request: Request) -> bool:
    """Return whether a matrix is expected to be factored faster by its rows, by "tsqr"."""
    if request.rows < 2 * request.n:
        return False
    tall = [plan_step(step, request, **options) for step, options in _tall(routine, request)]
    return _called(tall) < _called(plan_step(step, request) for step in STEPS[routine])


def _called(made) -> float:
    """Return the time of steps that are calls of their own."""
    return sum(step.seconds + step.call_seconds for step in made)


def without_q(routine: str, request: Request) -> bool:
    """Return whether few enough right-hand sides are solved for to do without Q."""
    return routine == "gels" and request.count * _SEMINORMAL_PRODUCTS <= request.n


def _tall(routine: str, request: Request):
    """Return the steps for a tall matrix, with their options."""
    if without_q(routine, request):
        return [(step, {}) for step in _SEMINORMAL]
    return [("tsqr", dict(vectors=int(RECTANGULAR[routine])))]


def plan_steps(name: str, routine: str, request: Request, *, tile=0, workspace_limit=0):
    """Return the native plan of each step of a call; the first step determines the tile size."""
    if name == "tiled" and routine in RECTANGULAR and is_tall(routine, request):
        options = dict(tile=tile, workspace_limit=workspace_limit)
        return [
            plan_step(step, request, **more, **options) for step, more in _tall(routine, request)
        ]
    made = []
    for step in STEPS[routine]:
        options = dict(tile=tile, workspace_limit=workspace_limit, backend=of_step(name, step))
        made.append(plan_step(step, request, **options))
        tile = made[0].tile
    return made


def plan_step(
    step: str, request: Request, *, backend="tiled", grid_rows=0, ranks=None, **arguments
) -> plans.CallPlan:
    """Return the native plan of one step, for a vendor's grid on `ranks` if they are known."""
    sizes = (step, request.n, request.count, request.dtype)
    arguments |= dict(ranks=request.ranks, processes=request.processes, hosts=request.hosts)
    if request.rows:
        arguments["m"] = request.rows
    if backend == "cusolvermp":
        return cusolvermp.plan(*sizes, grid_rows=grid_rows, on=ranks, **arguments)
    if backend == "tiled":
        order = request.one_rank_up_to
        arguments["concurrent"] = request.concurrent
        arguments["one_rank_up_to"] = -1 if order is None else order
    made = plans.plan(*sizes, platform=request.platform, backend=backend, **arguments)
    if backend == "cusolvermg":
        own, limit = plans.cusolvermg_bytes(made), arguments.get("workspace_limit", 0)
        return plans.with_library_bytes(made, "cuSOLVERMg", own, limit, request.n)
    return made


def _require(name: str, routine: str, request: Request, by: str) -> None:
    """Raise unless a vendor's backend can serve a call; warn if its results may be wrong."""
    reason = _why_not(name, routine, request)
    if reason is not None:
        raise ValueError(f"backend={name!r} ({by}) cannot be used for this call: {reason}")
    _, reason = _availability(name)
    if reason is not None:
        raise RuntimeError(f"backend={name!r} ({by}) is not available: {reason}")
    if routine in _VENDORS[name].wrong:
        warning = f"backend={name!r} ({by}): {_VENDORS[name].wrong[routine]}"
        warnings.warn(warning, JaxMgWarning, stacklevel=2)


# --- the vendors' libraries -------------------------------------------------------------------


@dataclass(frozen=True)
class _Vendor:
    """Capabilities of a vendor's library."""

    title: str
    limits: Callable[[Request], str | None]  # reason why it cannot serve a request, or None
    wrong: Mapping[str, str] = field(default_factory=dict)  # unreliable routines, with the reason


def _one_process_with_peers(request: Request) -> str | None:
    if request.processes > 1:
        return f"one process must drive all GPUs, and the mesh spans {request.processes} processes"
    if request.ranks > 1 and os.environ.get("JAXMG_TRANSPORT") == "nccl":
        return "GPUs must reach each other's memory, which JAXMG_TRANSPORT=nccl excludes"
    return None


_VENDORS = {
    "cusolvermg": _Vendor(
        "cuSOLVERMg",
        _one_process_with_peers,
    ),
    "cusolvermp": _Vendor(
        "cuSOLVERMp",
        lambda request: None,
        {
            "syevd": "cuSOLVERMp 0.9.1 is reported to return wrong eigenvectors, with info = 0, "
            "for clustered eigenvalues and for matrices that are not of full rank",
            "polar": "cuSOLVERMp 0.9.1 returns a factor U that is not unitary, with info = 0, for "
            "matrices that are singular up to rounding errors",
        },
    ),
}


def _served(name: str) -> tuple[str, ...]:
    """Return the routines of which a vendor's library serves all steps that any vendor serves."""
    by_vendors = {step: set(one.served_by) - {"tiled"} for step, one in plans.routines().items()}

    def served(steps):
        wanted = [by_vendors[step] for step in steps if by_vendors[step]]
        return bool(wanted) and all(name in of_step for of_step in wanted)

    return tuple(routine for routine, steps in STEPS.items() if served(steps))


def _why_not(name: str, routine: str, request: Request) -> str | None:
    """Return why a vendor's library cannot serve a call even if installed, or None."""
    vendor = _VENDORS[name]
    if routine not in _served(name):
        return f"{vendor.title} has no {routine}, only {', '.join(_served(name))}"
    if request.platform != "gpu":
        kind = request.platform.upper()
        return f"{vendor.title} runs on NVIDIA GPUs, and the mesh is of {kind} devices"
    return vendor.limits(request)


def _availability(name: str) -> tuple[str | None, str | None]:
    """Return (version, None) of a vendor's library, or (None, reason) if it is not available."""
    try:
        return cuda.vendor_version(name), None
    except RuntimeError as error:
        return None, str(error)


# --- the list of backends ---------------------------------------------------------------------


@dataclass(frozen=True)
class Backend:
    """One implementation of the routines.

    Attributes
    ----------
    name : str
        Its name in the argument `backend`.
    available : bool
        Whether it can be used in this process.
    version : str or None
        Version of its library, if it is available.
    reason : str or None
        Why it is not available, and how to install it.
    routines : tuple of str
        The routines that it supports, by their names in `jaxmg.plan`; and "solve_triangular".
    """

    name: str
    available: bool
    version: str | None
    reason: str | None
    routines: tuple[str, ...]

    def __str__(self) -> str:
        if not self.available:
            return f"{self.name}: not available: {self.reason}"
        return f"{self.name} {self.version}: {', '.join(self.routines)}"


def backends() -> tuple[Backend, ...]:
    """List the backends with their versions and routines, or the reason why one is unavailable.

    Returns
    -------
    tuple of Backend
        "tiled", this library's own algorithms, then NVIDIA's libraries.

    Notes
    -----
    This looks for GPUs, which initialises JAX's backends: call ``jax.distributed.initialize``
    first. It loads the vendors' libraries that are installed.

    Examples
    --------
    >>> import jaxmg
    >>> jaxmg.backends()[0].name
    'tiled'
    """
    found = [Backend("tiled", True, __version__, None, (*STEPS, "solve_triangular"))]
    for name in _VENDORS:
        version, reason = _availability(name) if _gpus() else (None, "JAX finds no GPU")
        try:
            routines = _served(name)
        except RuntimeError:  # The native library, which has the table, is missing.
            routines = ()
        found.append(Backend(name, reason is None, version, reason, routines))
    return tuple(found)


def _gpus() -> bool:
    try:
        return bool(jax.local_devices(backend="gpu"))
    except RuntimeError:  # JAX has no such platform.
        return False
