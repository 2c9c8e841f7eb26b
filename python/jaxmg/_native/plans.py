"""Interface to the native planner: plans of single routines, and the table of routines."""

import ctypes
import functools
from typing import NamedTuple

import numpy as np

from jaxmg._native import cuda
from jaxmg._native.c_interface import ask
from jaxmg._native.loading import host_library, table

_MOST_WORDS = 256  # of an encoded plan


class _Answer(ctypes.Structure):
    _fields_ = [
        ("tile", ctypes.c_int64),
        ("distributed_rhs", ctypes.c_int64),
        ("workspace_bytes", ctypes.c_int64),
        ("shard_bytes", ctypes.c_int64),
        ("rhs_bytes", ctypes.c_int64),
        ("seconds", ctypes.c_double),
        ("call_seconds", ctypes.c_double),
        ("ranks_at_work", ctypes.c_int64),
        ("words", ctypes.c_int64),
    ]


class Network(NamedTuple):
    """Interconnect of the ranks of a call; 0 selects the cost model's value for the platform."""

    link_bytes: float = 0  # Bytes per second and rank, within a host.
    network_bytes: float = 0  # The same between hosts.
    network_seconds: float = 0  # Latency of the smallest message between hosts.


_AS_MEASURED = Network()


class CallPlan(NamedTuple):
    """Plan of one call by the native planner, per device."""

    words: tuple[int, ...]  # All of it, encoded for the handler.
    tile: int
    distributed_rhs: bool
    workspace_bytes: int
    shard_bytes: int
    rhs_bytes: int
    seconds: float
    call_seconds: float  # Of a call from Python, in addition.
    ranks_at_work: int  # 1 if one rank gathers the matrix and works alone.
    backend: str

    def fields(self) -> dict[str, str]:
        """Return all fields of the problem and of the plan, which takes precedence, as text."""
        words, size = (ctypes.c_int64 * len(self.words))(*self.words), ctypes.c_int64(4096)
        text = ctypes.create_string_buffer(size.value)
        ask(host_library().jaxmg_describe, words, ctypes.c_int64(len(words)), text, size)
        return dict(field.split("=") for field in text.value.decode().split()[1:])


class Routine(NamedTuple):
    """A routine of the native code."""

    counted: str | None  # Planner's name of the count besides the order of the matrix.
    served_by: tuple[str, ...]  # Backends.


@functools.cache
def routines() -> dict[str, Routine]:
    """Return the routines that can be planned and called, by name."""
    return {
        name: Routine(None if counted == "-" else counted, tuple(served_by))
        for name, counted, *served_by in table(host_library())
    }


@functools.lru_cache(maxsize=4096)
def plan(
    routine: str,
    n: int,
    count: int,
    dtype: np.dtype,
    *,
    ranks: int,
    platform: str = "gpu",
    backend: str = "tiled",
    network: Network = _AS_MEASURED,
    **arguments: int,
) -> CallPlan:
    """Plan a routine with the native planner.

    `count` is the number of right-hand sides, eigenvectors or elements of a row, for routines with
    such a number. `arguments` are the common ones (``tile``, ``workspace_limit``, ``processes``,
    ``hosts``) and the arguments of this routine; a tile or limit of 0 leaves the choice to the
    planner. `hosts` and `network` only affect the estimated time. The plan excludes the workspace
    of a vendor's library; see `with_library_bytes`.
    """
    arguments |= dict(dtype=dtype, ranks=ranks, platform=platform) | network._asdict()
    if n is not None:
        arguments["n"] = n
    if (known := routines().get(routine)) and known.counted:
        arguments[known.counted] = count
    problem = " ".join(f"{name}={_text(value)}" for name, value in arguments.items())
    names = (text.encode() for text in (routine, backend, problem))
    answer, words = _Answer(), (ctypes.c_int64 * _MOST_WORDS)()
    results = ctypes.byref(answer), words, ctypes.c_int64(len(words))
    ask(host_library().jaxmg_plan, *names, *results, error=ValueError)
    return CallPlan(
        tuple(words[: answer.words]),
        answer.tile,
        bool(answer.distributed_rhs),
        answer.workspace_bytes,
        answer.shard_bytes,
        answer.rhs_bytes,
        answer.seconds,
        answer.call_seconds,
        answer.ranks_at_work,
        backend,
    )


def _text(value) -> str:
    """Return the value of a planner argument as text."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(int(value)) if isinstance(value, (bool, np.integer)) else str(value)


def with_library_bytes(made: CallPlan, library: str, own: int, limit: int, n: int) -> CallPlan:
    """Return a plan that includes the workspace of a vendor's library."""
    total = made.workspace_bytes + own
    if 0 < limit < total:
        raise ValueError(
            f"{library} and its copy of the matrix need {total} bytes of workspace per device "
            f"for n = {n}, the limit is {limit}"
        )
    return made._replace(workspace_bytes=total)


@functools.lru_cache(maxsize=4096)
def cusolvermg_bytes(made: CallPlan) -> int:
    """Return the bytes of workspace that cuSOLVERMg itself requires, by its queries."""
    cuda.vendor_version("cusolvermg")
    needed = ctypes.c_int64()
    words = (ctypes.c_int64 * len(made.words))(*made.words)
    function = cuda.library().jaxmg_cusolvermg_workspace
    ask(function, words, ctypes.c_int64(len(words)), ctypes.byref(needed))
    return max(256, needed.value)
