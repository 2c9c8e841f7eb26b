"""Loading the native libraries: the only place that knows ctypes and the C interface.

Importing loads the host library alone and registers the XLA FFI handlers of all platforms, for
programs that were exported or compiled in another process. The first call on a platform loads the
rest: SciPy's BLAS, or the CUDA library, with the NVIDIA libraries from wherever JAX's own come.
"""

import contextlib
import ctypes
import functools
import importlib.util
import os
import threading
import warnings
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxmg.utils import JaxMgWarning

ROUTINES = {
    "posv": 0,
    "redistribute": 1,
    "potrf": 2,
    "potrs": 3,
    "potri": 4,
    "lower": 5,
    "diagonal": 6,
    "syevd": 7,
    "solver_bytes": 8,
}
HANDLERS = ("roll_call", *ROUTINES)
DTYPES = {
    np.dtype(name): code
    for code, name in enumerate(("float32", "float64", "complex64", "complex128"))
}
PLATFORMS = {"cpu": 0, "gpu": 1}
_XLA_PLATFORMS = {"cpu": "cpu", "gpu": "CUDA"}
BACKENDS = {"tiled": 0, "cusolvermg": 1, "cusolvermp": 2}

_CUDA_MAJORS = (13, 12)
_NVIDIA_LIBRARIES = ("cudart", "cublas", "cusolver", "nccl")
# What each vendor's backend loads on its first use, by the names that cuda-pathfinder has for them.
_VENDOR_LIBRARIES = {"cusolvermg": ("cusolverMg",), "cusolvermp": ("cusolverMp",)}
_loading = threading.RLock()


class _PlanRequest(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            "routine",
            "n",
            "nrhs",
            "dtype",
            "ranks",
            "tile",
            "platform",
            "processes",
            "workspace_limit",
            "hosts",
        )
    ] + [(name, ctypes.c_double) for name in ("link_bytes", "network_bytes", "network_seconds")]


class _PlanResult(ctypes.Structure):
    _fields_ = [
        ("tile", ctypes.c_int64),
        ("pivot", ctypes.c_int64),
        ("slots", ctypes.c_int64),
        ("distributed_rhs", ctypes.c_int64),
        ("workspace_bytes", ctypes.c_int64),
        ("shard_bytes", ctypes.c_int64),
        ("rhs_bytes", ctypes.c_int64),
        ("half_bandwidth", ctypes.c_int64),
        ("delay", ctypes.c_int64),
        ("depth", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("diamonds", ctypes.c_int64),
        ("secular", ctypes.c_int64),
        ("kept", ctypes.c_int64),
        ("solo", ctypes.c_int64),
        ("seconds", ctypes.c_double),
    ]


class _CudaVersions(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int64) for name in ("driver", "cudart", "cublas", "cusolver", "nccl")
    ]


class _CudaLink(ctypes.Structure):
    _fields_ = [("access", ctypes.c_int64), ("atomics", ctypes.c_int64)]


class Network(NamedTuple):
    """What joins the ranks of a call; 0 stands for what the cost model knows of the platform."""

    link_bytes: float = 0  # Bytes per second and rank, within a host.
    network_bytes: float = 0  # The same between hosts.
    network_seconds: float = 0  # Until the smallest message between hosts has arrived.


_AS_MEASURED = Network()


class CallPlan(NamedTuple):
    """What the native planner decided for one call, per device."""

    tile: int
    pivot: int
    slots: int
    distributed_rhs: bool
    workspace_bytes: int
    shard_bytes: int
    rhs_bytes: int
    half_bandwidth: int
    delay: int
    depth: int
    columns: int
    diamonds: int
    secular: int
    kept: int
    solo: bool
    seconds: float
    backend: str


def library_dir() -> Path:
    """Return the folder of the native libraries: ``JAXMG_LIBRARY_DIR``, or the package's own."""
    override = os.environ.get("JAXMG_LIBRARY_DIR")
    return Path(override) if override else Path(__file__).parent / "lib"


def require(platform: str) -> None:
    """Load what a call on `platform` ("cpu" or "gpu") needs, or raise RuntimeError with why not."""
    _host_library()
    if platform not in PLATFORMS:
        raise RuntimeError(f"jaxmg runs on CPUs and NVIDIA GPUs, not on platform {platform!r}")
    _load_handlers(platform)


@functools.lru_cache(maxsize=4096)
def plan(
    routine: str,
    n: int,
    nrhs: int,
    dtype: np.dtype,
    *,
    ranks: int,
    tile: int,
    platform: str,
    processes: int,
    workspace_limit: int,
    backend: str = "tiled",
    hosts: int = 1,
    network: Network = _AS_MEASURED,
) -> CallPlan:
    """Ask the native planner; 0 for `tile` or `workspace_limit` leaves the choice to it.

    For "redistribute", `n` is the number of rows on all ranks together, `nrhs` their length; for
    "syevd", `nrhs` is the number of eigenvectors wanted. `hosts` and `network` matter for the
    estimated time alone. For "cusolvermg", which is loaded then, the workspace is with its own.
    """
    request = _request(
        routine,
        n,
        nrhs,
        dtype,
        ranks=ranks,
        tile=tile,
        platform=platform,
        processes=processes,
        workspace_limit=workspace_limit,
        hosts=hosts,
        network=network,
    )
    result = _PlanResult()
    arguments = ctypes.byref(request), ctypes.byref(result)
    if backend != "cusolvermg":
        _ask(_host_library().jaxmg_plan, *arguments, error=ValueError)
    else:
        _ask(_host_library().jaxmg_cusolvermg_plan, *arguments, error=ValueError)
        result.workspace_bytes += _cusolvermg_bytes(request, result)
        if 0 < workspace_limit < result.workspace_bytes:
            raise ValueError(
                f"cuSOLVERMg needs {result.workspace_bytes} bytes of workspace per device for "
                f"n = {n}, the limit is {workspace_limit}"
            )
    return _call_plan(result, backend)


@functools.lru_cache(maxsize=4096)
def grid_plan(
    routine: str,
    n: int,
    nrhs: int,
    dtype: np.dtype,
    *,
    ranks: int,
    tile: int,
    processes: int,
    grid_rows: int = 0,
    hosts: int = 1,
    network: Network = _AS_MEASURED,
) -> CallPlan:
    """Plan "posv", "potrf" or "syevd" for cuSOLVERMp, without what the library needs for itself.

    The ranks are a grid with `grid_rows` rows, or if that is 0 the squarest one; `pivot` is the
    order of the library's square tiles.
    """
    options = dict(ranks=ranks, tile=tile, processes=processes, hosts=hosts, network=network)
    request = _request(routine, n, nrhs, dtype, **options)
    result = _PlanResult()
    function, rows = _host_library().jaxmg_grid_plan, ctypes.c_int64(grid_rows)
    _ask(function, ctypes.byref(request), rows, ctypes.byref(result), error=ValueError)
    return _call_plan(result, "cusolvermp")


def _request(
    routine: str,
    n: int,
    nrhs: int,
    dtype: np.dtype,
    *,
    ranks: int,
    tile: int = 0,
    platform: str = "gpu",
    processes: int = 1,
    workspace_limit: int = 0,
    hosts: int = 1,
    network: Network = _AS_MEASURED,
) -> _PlanRequest:
    return _PlanRequest(
        ROUTINES[routine],
        n,
        nrhs,
        DTYPES[dtype],
        ranks,
        tile,
        PLATFORMS[platform],
        processes,
        workspace_limit,
        hosts,
        *network,
    )


def _call_plan(result: _PlanResult, backend: str) -> CallPlan:
    return CallPlan(
        result.tile,
        result.pivot,
        result.slots,
        bool(result.distributed_rhs),
        result.workspace_bytes,
        result.shard_bytes,
        result.rhs_bytes,
        result.half_bandwidth,
        result.delay,
        result.depth,
        result.columns,
        result.diamonds,
        result.secular,
        result.kept,
        bool(result.solo),
        result.seconds,
        backend,
    )


@functools.lru_cache(maxsize=4096)
def grid_seconds(
    routine: str,
    n: int,
    nrhs: int,
    dtype: np.dtype,
    *,
    ranks: int,
    hosts: int = 1,
    network: Network = _AS_MEASURED,
) -> float:
    """Return how long a call on GPUs would take on a two-dimensional grid, as cuSOLVERMp has it.

    To be held against `plan(...).seconds`. The routines are "posv", "potrf", "potrs" and "syevd";
    others raise ValueError.
    """
    request = _request(routine, n, nrhs, dtype, ranks=ranks, hosts=hosts, network=network)
    seconds = ctypes.c_double()
    function = _host_library().jaxmg_grid_seconds
    _ask(function, ctypes.byref(request), ctypes.byref(seconds), error=ValueError)
    return seconds.value


@functools.lru_cache(maxsize=4096)
def cusolvermg_seconds(routine: str, n: int, nrhs: int, dtype: np.dtype, *, ranks: int) -> float:
    """Return how long a call would take with cuSOLVERMg, which is not loaded for that."""
    request = _request(routine, n, nrhs, dtype, ranks=ranks)
    result = _PlanResult()
    function = _host_library().jaxmg_cusolvermg_plan
    _ask(function, ctypes.byref(request), ctypes.byref(result), error=ValueError)
    return result.seconds


def _cusolvermg_bytes(request: _PlanRequest, plan: _PlanResult) -> int:
    """Return how many bytes of workspace cuSOLVERMg needs for itself, as only it can tell."""
    vendor_version("cusolvermg")
    needed = ctypes.c_int64()
    sizes = (request.routine, request.n, request.nrhs, request.dtype, request.ranks)
    arguments = map(ctypes.c_int64, (*sizes, plan.tile, plan.distributed_rhs))
    _ask(cuda_library().jaxmg_cusolvermg_workspace, *arguments, ctypes.byref(needed))
    return max(256, needed.value)


def _ask(function, *arguments, error=RuntimeError) -> None:
    """Call a function of a native library that returns 0, or writes down why not."""
    message = ctypes.create_string_buffer(1024)
    if function(*arguments, message, ctypes.c_int64(len(message))) != 0:
        raise error(message.value.decode())


def gpu_present() -> bool:
    """Return whether there is an NVIDIA GPU, or JAX's plugin for one."""
    if any(os.path.exists(path) for path in ("/proc/driver/nvidia/version", "/dev/nvidia0")):
        return True
    return any(importlib.util.find_spec(f"jax_cuda{major}_plugin") for major in _CUDA_MAJORS)


def cuda_library() -> ctypes.CDLL:
    """Load the CUDA library and return it, or raise RuntimeError with why there is none."""
    found = _load_cuda()
    if isinstance(found, str):
        raise RuntimeError(f"jaxmg cannot run on GPUs: {found}")
    return found


def cuda_versions() -> dict[str, int]:
    """Return the versions of NVIDIA's libraries as loaded, as 10000 major + 100 minor + patch.

    That of "driver" is the latest CUDA that the driver knows.
    """
    result = _CudaVersions()
    _ask(cuda_library().jaxmg_cuda_versions, ctypes.byref(result))
    return {name: getattr(result, name) for name, _ in result._fields_}


def cuda_link(device: int, other: int) -> tuple[bool, bool]:
    """Return whether a GPU reaches the memory of another one, and whether through NVLink."""
    result = _CudaLink()
    numbers = ctypes.c_int64(device), ctypes.c_int64(other)
    _ask(cuda_library().jaxmg_cuda_link, *numbers, ctypes.byref(result))
    return bool(result.access), bool(result.atomics)


def vendor_version(backend: str) -> str:
    """Load a vendor's library and return its version, or raise RuntimeError with why not."""
    found = _load_cuda()
    if isinstance(found, str):
        raise RuntimeError(found)
    with _loading:
        return _load_vendor(found, backend)


@functools.cache
def _load_vendor(library: ctypes.CDLL, backend: str) -> str:
    load = getattr(library, f"jaxmg_{backend}_load", None)
    if load is None:
        raise RuntimeError(f"{library._name} was built without it")
    complaints = _preload(_VENDOR_LIBRARIES[backend])
    version = ctypes.c_int64()
    try:
        _ask(load, ctypes.byref(version))
    except RuntimeError as error:
        raise RuntimeError(f"{error}{complaints}") from None
    major, rest = divmod(version.value, 10000)
    return f"{major}.{rest // 100}.{rest % 100}"


def warn_if_gpu_is_unusable() -> None:
    """Warn when a GPU is present but this installation has no CUDA library for it."""
    platforms = jax.config.jax_platforms
    if platforms and not {"cuda", "gpu"} & set(platforms.split(",")):
        return
    if gpu_present() and isinstance(found := _find_cuda_library(), str):
        warnings.warn(f"jaxmg will run on CPU only: {found}", JaxMgWarning, stacklevel=3)


def register_handlers() -> None:
    """Register the handlers of all platforms; failures are reported by the first call."""
    with contextlib.suppress(RuntimeError):
        _host_library()


def _host_library() -> ctypes.CDLL:
    with _loading:
        return _load_host_library()


@functools.cache
def _load_host_library() -> ctypes.CDLL:
    path = library_dir() / "libjaxmg_host.so"
    if not path.exists():
        raise RuntimeError(
            f"jaxmg's host library {path} does not exist: reinstall jaxmg, or set "
            "JAXMG_LIBRARY_DIR to the folder of a build"
        )
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise RuntimeError(f"loading jaxmg's host library failed: {error}") from None
    if not hasattr(library, "jaxmg_set_find_handler"):
        raise RuntimeError(
            f"jaxmg's host library {path} is of another version of jaxmg: build it again"
        )
    library.jaxmg_set_blas.restype = None
    library.jaxmg_set_blas.argtypes = (ctypes.c_char_p, ctypes.c_void_p)
    library.jaxmg_set_find_handler.restype = None
    library.jaxmg_set_find_handler(_find_handler)
    for platform, xla_platform in _XLA_PLATFORMS.items():
        for name in HANDLERS:
            handler = jax.ffi.pycapsule(getattr(library, f"jaxmg_forward_{platform}_{name}"))
            jax.ffi.register_ffi_target(
                f"jaxmg_{name}", handler, platform=xla_platform, api_version=1
            )
    return library


@ctypes.CFUNCTYPE(
    ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int64
)
def _find_handler(platform: bytes, name: bytes, message: int, message_size: int) -> int | None:
    """Return the address of a handler; None on failure, with the reason in `message`.

    Threads of XLA call it when a forwarding handler runs first; see cpp/ffi/forwarding.h.
    """
    try:
        library, prefix = _load_handlers(platform.decode())
        handler = getattr(library, f"jaxmg_{prefix}_{name.decode()}")
        return ctypes.cast(handler, ctypes.c_void_p).value
    except BaseException as error:  # No exception may pass through C++.
        text = str(error).encode()[: message_size - 1] + b"\0"
        ctypes.memmove(message, text, len(text))
        return None


def _load_handlers(platform: str) -> tuple[ctypes.CDLL, str]:
    """Return the library that has the handlers of a platform, and the prefix of their names."""
    if platform == "gpu":
        return cuda_library(), "cuda"
    with _loading:
        library = _load_host_library()
        _hand_over_blas(library)
    return library, "host"


@functools.cache
def _hand_over_blas(library: ctypes.CDLL) -> None:
    """Give the host engine SciPy's BLAS and LAPACK, as raw function pointers."""
    from scipy.linalg import cython_blas, cython_lapack

    sources = {"gemm": cython_blas, "trsm": cython_blas}
    sources |= dict.fromkeys(("potrf", "geqrf", "larft"), cython_lapack)
    for routine, module in sources.items():
        for prefix in "sdcz":
            name = prefix + routine
            library.jaxmg_set_blas(name.encode(), _capsule_pointer(module.__pyx_capi__[name]))


def _capsule_pointer(capsule) -> int:
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, (ctypes.py_object,)
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype = ctypes.c_void_p
    get_pointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
    return get_pointer(capsule, get_name(capsule))


def _load_cuda() -> ctypes.CDLL | str:
    """Load the CUDA library; return it, or the reason why there is none."""
    with _loading:
        return _load_cuda_once()


@functools.cache
def _load_cuda_once() -> ctypes.CDLL | str:
    found = _find_cuda_library()
    if isinstance(found, str):
        return found
    missing = _preload(_NVIDIA_LIBRARIES)
    try:
        library = ctypes.CDLL(str(found))
    except OSError as error:
        return f"loading {found} failed: {error}{missing}"
    return library


def _find_cuda_library() -> Path | str:
    """Return the CUDA library that fits JAX's installed plugin, or why there is none."""
    majors = [
        major for major in _CUDA_MAJORS if importlib.util.find_spec(f"jax_cuda{major}_plugin")
    ]
    if not majors:
        return (
            "JAX has no CUDA plugin; install jaxmg[cuda13] or jaxmg[cuda12] (with -local if the "
            "CUDA toolkit is installed already)"
        )
    paths = [library_dir() / f"libjaxmg_cuda{major}.so" for major in majors]
    for path in paths:
        if path.exists():
            return path
    return (
        f"JAX's plugin is for CUDA {majors[0]}, but this installation of jaxmg has no "
        f"{paths[0]}; install a jaxmg wheel with CUDA libraries, or build it with "
        f"JAXMG_CUDA={majors[0]} pip install ."
    )


def _preload(names: tuple[str, ...]) -> str:
    """Load NVIDIA's libraries from where JAX's own come; return complaints."""
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib
    except ImportError:
        return " (cuda-pathfinder is not installed, so only the system's libraries were searched)"
    complaints = []
    for name in names:
        try:
            load_nvidia_dynamic_lib(name)
        except Exception as error:  # Whatever pathfinder raises, loading decides what is missing.
            # What comes after the first line is a list of all files where it was looked for.
            complaints.append(f"; {name}: {str(error).splitlines()[0]}")
    return "".join(complaints)
