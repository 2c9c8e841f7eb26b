"""Loading of the CUDA library and of NVIDIA's libraries; versions; links between GPUs."""

import ctypes
import functools
import importlib.util
import os
import warnings
from pathlib import Path

import jax

from jaxmg._native.c_interface import ask, library_dir, lock
from jaxmg._supported import BACKENDS
from jaxmg._warning import JaxMgWarning

_CUDA_MAJORS = (13, 12)
_NVIDIA_LIBRARIES = ("cudart", "cublas", "cusolver", "nccl")


class _CudaVersions(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int64) for name in ("driver", "cudart", "cublas", "cusolver", "nccl")
    ]


class _CudaLink(ctypes.Structure):
    _fields_ = [("access", ctypes.c_int64), ("atomics", ctypes.c_int64)]


def gpu_present() -> bool:
    """Return whether there is an NVIDIA GPU, or JAX's plugin for one."""
    if any(os.path.exists(path) for path in ("/proc/driver/nvidia/version", "/dev/nvidia0")):
        return True
    return any(importlib.util.find_spec(f"jax_cuda{major}_plugin") for major in _CUDA_MAJORS)


def library() -> ctypes.CDLL:
    """Load the CUDA library and return it; raise RuntimeError with the reason if there is none."""
    found = _load_cuda()
    if isinstance(found, str):
        raise RuntimeError(f"jaxmg cannot run on GPUs: {found}")
    return found


def versions() -> dict[str, int]:
    """Return the versions of NVIDIA's libraries as loaded, as 10000 major + 100 minor + patch.

    The version of "driver" is the latest CUDA that the driver supports.
    """
    result = _CudaVersions()
    ask(library().jaxmg_cuda_versions, ctypes.byref(result))
    return {name: getattr(result, name) for name, _ in result._fields_}


def link(device: int, other: int) -> tuple[bool, bool]:
    """Return (peer access, NVLink): whether a GPU can access another's memory, and by NVLink."""
    result = _CudaLink()
    numbers = ctypes.c_int64(device), ctypes.c_int64(other)
    ask(library().jaxmg_cuda_link, *numbers, ctypes.byref(result))
    return bool(result.access), bool(result.atomics)


def exchange_between_processes() -> str:
    """Return how the GPUs of several processes exchanged blocks in the last call, or ""."""
    text = ctypes.create_string_buffer(1024)
    ask(library().jaxmg_cuda_exchange, text, ctypes.c_int64(len(text)))
    return text.value.decode()


def vendor_version(backend: str) -> str:
    """Load a vendor's library and return its version; raise RuntimeError if it is unavailable."""
    found = _load_cuda()
    if isinstance(found, str):
        raise RuntimeError(found)
    with lock:
        return _load_vendor(found, backend)


@functools.cache
def _load_vendor(library: ctypes.CDLL, backend: str) -> str:
    load = getattr(library, f"jaxmg_{backend}_load", None)
    if load is None:
        raise RuntimeError(f"{library._name} was built without {backend}")
    complaints = _preload(BACKENDS[backend])
    version = ctypes.c_int64()
    try:
        ask(load, ctypes.byref(version))
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


def _load_cuda() -> ctypes.CDLL | str:
    """Load the CUDA library; return it, or the reason for its absence."""
    with lock:
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
    """Return the CUDA library for JAX's installed plugin, or the reason for its absence."""
    majors = [
        major for major in _CUDA_MAJORS if importlib.util.find_spec(f"jax_cuda{major}_plugin")
    ]
    if not majors:
        return (
            "JAX has no CUDA plugin; install jaxmg[cuda13] or jaxmg[cuda12] (with -local if a CUDA "
            "toolkit is already installed)"
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
    """Load NVIDIA's libraries from the places where JAX finds them; return the failures as text."""
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib
    except ImportError:
        return " (cuda-pathfinder is not installed, so only the system's libraries were searched)"
    complaints = []
    for name in names:
        try:
            load_nvidia_dynamic_lib(name)
        except Exception as error:  # Any error of pathfinder: dlopen reports what is missing.
            # The lines after the first list every file that was searched for.
            complaints.append(f"; {name}: {str(error).splitlines()[0]}")
    return "".join(complaints)
