"""Who does the work of a call: the backends, what each of them can do, and the choice among them.

Which routines of the native code a backend serves, the native library says (cpp/routines/table.h).
A new one is an entry of `_VENDORS` here and of `_supported.BACKENDS`, and its C++ side
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

# The steps of each routine that can be planned: routines of the native code, one after another,
# under LAPACK's names. (What users plan as "potrs" is `jaxmg.potrs`, which factors, too.)
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
}
# Another backend has to be expected to take less than this part of our time: models err.
_MARGIN = 0.8


@dataclass(frozen=True)
class Request:
    """What is to be done: all that a choice may depend on."""

    n: int
    count: int  # right-hand sides, or eigenvectors
    dtype: np.dtype
    ranks: int
    platform: str
    processes: int
    hosts: int  # that the ranks are divided among

    @classmethod
    def on(cls, ranks: Ranks, n: int, count: int, dtype) -> "Request":
        dtype, hosts = np.dtype(dtype), min(ranks.hosts, ranks.size)
        return cls(n, count, dtype, ranks.size, ranks.platform, ranks.processes, hosts)


class Choice(NamedTuple):
    """A backend, and why it was chosen."""

    name: str
    reason: str


def choose(routine: str, request: Request, asked: str = "auto") -> Choice:
    """Return the backend for a call of `routine`, one of `STEPS` or "solve_triangular".

    `asked` is the caller's argument; "auto" leaves the choice to ``jaxmg.config.backend``, and if
    that is "auto", too, to the times that are expected. Raises ValueError if the backend that was
    asked for cannot do what is requested, RuntimeError if it is not available.
    """
    _config.check_backend(asked)
    by = "asked for"
    if asked == "auto":
        asked = _config.config.backend
        by = f"set by {_config.config.origin('backend')}"
    if asked == "auto":
        return _fastest(routine, request)
    if asked != "tiled":
        _require(asked, routine, request, by)
    return Choice(asked, by)


def of_step(name: str, step: str) -> str:
    """Return the backend for one step of a call that was given to `name`.

    What a vendor's library lacks is done by this library's own code: putting a factor in order, and
    some of what derivatives need.
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
            return Choice(name, f"the fastest one there is, by the planner's model: {times}")
    return Choice("tiled", f"none that is there is clearly faster by the planner's model: {times}")


def _seconds(name: str, routine: str, request: Request) -> float:
    """Return the time that the planner's model of a backend expects."""
    if name == "tiled":
        return sum(step.seconds for step in plan_steps(name, routine, request))
    return sum(_vendors_seconds(name, step, request) for step in STEPS[routine])


def _vendors_seconds(name: str, step: str, request: Request) -> float:
    backend = of_step(name, step)
    if backend == "tiled":
        return plan_step(step, request, tile=0, workspace_limit=0).seconds
    sizes = (step, request.n, request.count, request.dtype)
    return plans.plan(*sizes, ranks=request.ranks, hosts=request.hosts, backend=backend).seconds


def plan_steps(name: str, routine: str, request: Request, *, tile=0, workspace_limit=0):
    """Return the native plan of each step of a call; the first one decides on the tile size."""
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
    if backend == "cusolvermp":
        return cusolvermp.plan(*sizes, grid_rows=grid_rows, on=ranks, **arguments)
    made = plans.plan(*sizes, platform=request.platform, backend=backend, **arguments)
    if backend == "cusolvermg":
        own, limit = plans.cusolvermg_bytes(made), arguments.get("workspace_limit", 0)
        return plans.with_library_bytes(made, "cuSOLVERMg", own, limit, request.n)
    return made


def _require(name: str, routine: str, request: Request, by: str) -> None:
    """Raise unless a vendor's backend can serve a call; warn where its results may be wrong."""
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
    """What a vendor's library can do."""

    title: str
    limits: Callable[[Request], str | None]  # why it cannot serve a request
    wrong: Mapping[str, str] = field(default_factory=dict)  # routines not to be relied on, and why


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
            "for clustered eigenvalues and for matrices that are not of full rank"
        },
    ),
}


def _served(name: str) -> tuple[str, ...]:
    """Return the routines of which a vendor's library does all steps that any vendor's does."""
    by_vendors = {step: set(one.served_by) - {"tiled"} for step, one in plans.routines().items()}

    def served(steps):
        wanted = [by_vendors[step] for step in steps if by_vendors[step]]
        return bool(wanted) and all(name in of_step for of_step in wanted)

    return tuple(routine for routine, steps in STEPS.items() if served(steps))


def _why_not(name: str, routine: str, request: Request) -> str | None:
    """Return why a vendor's library cannot serve a call wherever it is installed, or None."""
    vendor = _VENDORS[name]
    if routine not in _served(name):
        return f"{vendor.title} has no {routine}, only {', '.join(_served(name))}"
    if request.platform != "gpu":
        kind = request.platform.upper()
        return f"{vendor.title} runs on NVIDIA GPUs, and the mesh is of {kind} devices"
    return vendor.limits(request)


def _availability(name: str) -> tuple[str | None, str | None]:
    """Return (version, None), or (None, why a vendor's library cannot be used here)."""
    try:
        return cuda.vendor_version(name), None
    except RuntimeError as error:
        return None, str(error)


# --- what is there ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Backend:
    """One implementation of the routines.

    Attributes
    ----------
    name : str
        What the argument `backend` calls it.
    available : bool
        Whether it can be used in this process.
    version : str or None
        Of the library that does the work, if it is available.
    reason : str or None
        Why it is not available, and what would make it so.
    routines : tuple of str
        What it can do, by the names that `jaxmg.plan` has for them; and "solve_triangular".
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
    """List the backends: what there is, in which version, and why something is not available.

    Returns
    -------
    tuple of Backend
        "tiled", this library's own algorithms, then those of NVIDIA's libraries.

    Notes
    -----
    It looks for GPUs, which starts JAX's backends: call ``jax.distributed.initialize`` before. The
    vendors' libraries are loaded, if they are there.

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
        except RuntimeError:  # There is no native library that says so.
            routines = ()
        found.append(Backend(name, reason is None, version, reason, routines))
    return tuple(found)


def _gpus() -> bool:
    try:
        return bool(jax.local_devices(backend="gpu"))
    except RuntimeError:  # There is no such platform.
        return False
