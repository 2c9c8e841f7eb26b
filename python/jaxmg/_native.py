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

DTYPES = tuple(np.dtype(name) for name in ("float32", "float64", "complex64", "complex128"))
PLATFORMS = ("cpu", "gpu")
_XLA_PLATFORMS = {"cpu": "cpu", "gpu": "CUDA"}

_CUDA_MAJORS = (13, 12)
_NVIDIA_LIBRARIES = ("cudart", "cublas", "cusolver", "nccl")
# What each vendor's backend loads on its first use, by the names that cuda-pathfinder has for them.
_VENDOR_LIBRARIES = {"cusolvermg": ("cusolverMg",), "cusolvermp": ("cusolverMp",)}
BACKENDS = ("tiled", *_VENDOR_LIBRARIES)
_MOST_WORDS = 256  # of an encoded plan
_loading = threading.RLock()


class _Answer(ctypes.Structure):
    _fields_ = [
        ("tile", ctypes.c_int64),
        ("distributed_rhs", ctypes.c_int64),
        ("workspace_bytes", ctypes.c_int64),
        ("shard_bytes", ctypes.c_int64),
        ("rhs_bytes", ctypes.c_int64),
        ("seconds", ctypes.c_double),
        ("words", ctypes.c_int64),
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

    words: tuple[int, ...]  # All of it, encoded for the handler.
    tile: int
    distributed_rhs: bool
    workspace_bytes: int
    shard_bytes: int
    rhs_bytes: int
    seconds: float
    backend: str

    def fields(self) -> dict[str, str]:
        """Return all fields of the problem and of the plan, whose own ones win, as text."""
        words, size = (ctypes.c_int64 * len(self.words))(*self.words), ctypes.c_int64(4096)
        text = ctypes.create_string_buffer(size.value)
        _ask(_host_library().jaxmg_describe, words, ctypes.c_int64(len(words)), text, size)
        return dict(field.split("=") for field in text.value.decode().split()[1:])


class Routine(NamedTuple):
    """A routine of the native code."""

    counted: str | None  # What is counted besides the order of the matrix, by the planner's name.
    served_by: tuple[str, ...]  # Backends.


@functools.cache
def routines() -> dict[str, Routine]:
    """Return what can be planned and called, by name."""
    return {
        name: Routine(None if counted == "-" else counted, tuple(served_by))
        for name, counted, *served_by in _table(_host_library())
    }


def _table(library: ctypes.CDLL) -> list[list[str]]:
    library.jaxmg_routines.restype = ctypes.c_char_p
    return [line.split() for line in library.jaxmg_routines().decode().splitlines()]


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
    count: int,
    dtype: np.dtype,
    *,
    ranks: int,
    platform: str = "gpu",
    backend: str = "tiled",
    network: Network = _AS_MEASURED,
    **arguments: int,
) -> CallPlan:
    """Ask the native planner.

    `count` is that of right-hand sides, eigenvectors or elements of a row, for routines with such
    a number. Arguments are those of every routine (``tile``, ``workspace_limit``, ``processes``,
    ``hosts``), and those of this one; 0 for a tile or a limit leaves the choice to the planner.
    `hosts` and `network` matter for the estimated time alone. The workspace that a vendor's library
    needs for itself is missing, see `with_library_bytes`.
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
    _ask(_host_library().jaxmg_plan, *names, *results, error=ValueError)
    return CallPlan(
        tuple(words[: answer.words]),
        answer.tile,
        bool(answer.distributed_rhs),
        answer.workspace_bytes,
        answer.shard_bytes,
        answer.rhs_bytes,
        answer.seconds,
        backend,
    )


def _text(value) -> str:
    """Return a value of a planner's argument as text."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(int(value)) if isinstance(value, (bool, np.integer)) else str(value)


def with_library_bytes(made: CallPlan, library: str, own: int, limit: int, n: int) -> CallPlan:
    """Return a plan with the workspace that a vendor's library needs for itself."""
    total = made.workspace_bytes + own
    if 0 < limit < total:
        raise ValueError(
            f"{library} and the matrix as it takes it need {total} bytes of workspace per device "
            f"for n = {n}, the limit is {limit}"
        )
    return made._replace(workspace_bytes=total)


@functools.lru_cache(maxsize=4096)
def cusolvermg_bytes(made: CallPlan) -> int:
    """Return how many bytes of workspace cuSOLVERMg needs for itself, as only it can tell."""
    vendor_version("cusolvermg")
    needed = ctypes.c_int64()
    words = (ctypes.c_int64 * len(made.words))(*made.words)
    function = cuda_library().jaxmg_cusolvermg_workspace
    _ask(function, words, ctypes.c_int64(len(words)), ctypes.byref(needed))
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
    library.jaxmg_forwarding_handler.restype = ctypes.c_void_p
    for name in ("roll_call", *(name for name, *_ in _table(library))):
        for platform, xla_platform in _XLA_PLATFORMS.items():
            handler = library.jaxmg_forwarding_handler(platform.encode(), name.encode())
            jax.ffi.register_ffi_target(
                f"jaxmg_{name}", jax.ffi.pycapsule(handler), platform=xla_platform, api_version=1
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
        library = _load_handlers(platform.decode())
        library.jaxmg_handler.restype = ctypes.c_void_p
        return library.jaxmg_handler(name)
    except BaseException as error:  # No exception may pass through C++.
        text = str(error).encode()[: message_size - 1] + b"\0"
        ctypes.memmove(message, text, len(text))
        return None


def _load_handlers(platform: str) -> ctypes.CDLL:
    """Return the library that has the handlers of a platform."""
    if platform == "gpu":
        return cuda_library()
    with _loading:
        library = _load_host_library()
        _hand_over_blas(library)
    return library


@functools.cache
def _hand_over_blas(library: ctypes.CDLL) -> None:
    """Give the host engine SciPy's BLAS and LAPACK, as raw function pointers."""
    from scipy.linalg import cython_blas, cython_lapack

    sources = {"gemm": cython_blas, "trsm": cython_blas}
    sources |= dict.fromkeys(("potrf", "getrf", "geqrf", "larft"), cython_lapack)
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
