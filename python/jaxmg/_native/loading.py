"""Loading of the host library and lookup of FFI handlers.

Importing loads only the host library and registers the XLA FFI handlers of all platforms, for
programs that were exported or compiled in another process. The first call on a platform loads the
rest: SciPy's BLAS, or the CUDA library with NVIDIA's libraries, from the places where JAX finds
them.
"""

import contextlib
import ctypes
import functools

import jax

from jaxmg._native import blas, cuda
from jaxmg._native.c_interface import library_dir, lock
from jaxmg._supported import PLATFORMS

_XLA_PLATFORMS = {"cpu": "cpu", "gpu": "CUDA"}


def table(library: ctypes.CDLL) -> list[list[str]]:
    """Return the lines of the native table of routines: name, counted quantity, backends."""
    library.jaxmg_routines.restype = ctypes.c_char_p
    return [line.split() for line in library.jaxmg_routines().decode().splitlines()]


def require(platform: str) -> None:
    """Load the libraries for `platform` ("cpu" or "gpu"); raise RuntimeError on failure."""
    host_library()
    if platform not in PLATFORMS:
        raise RuntimeError(f"jaxmg runs on CPUs and NVIDIA GPUs, not on platform {platform!r}")
    load_handlers(platform)


def register_handlers() -> None:
    """Register the handlers of all platforms; failures are reported by the first call."""
    with contextlib.suppress(RuntimeError):
        host_library()


def host_library() -> ctypes.CDLL:
    """Load the host library and return it; raise RuntimeError on failure."""
    with lock:
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
            f"jaxmg's host library {path} is from another version of jaxmg: rebuild it"
        )
    library.jaxmg_set_blas.restype = None
    library.jaxmg_set_blas.argtypes = (ctypes.c_char_p, ctypes.c_void_p)
    library.jaxmg_set_find_handler.restype = None
    library.jaxmg_set_find_handler(find_handler)
    library.jaxmg_forwarding_handler.restype = ctypes.c_void_p
    for name in ("roll_call", *(name for name, *_ in table(library))):
        for platform, xla_platform in _XLA_PLATFORMS.items():
            handler = library.jaxmg_forwarding_handler(platform.encode(), name.encode())
            jax.ffi.register_ffi_target(
                f"jaxmg_{name}", jax.ffi.pycapsule(handler), platform=xla_platform, api_version=1
            )
    return library


@ctypes.CFUNCTYPE(
    ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int64
)
def find_handler(platform: bytes, name: bytes, message: int, message_size: int) -> int | None:
    """Return the address of a handler; None on failure, with the reason in `message`.

    XLA's threads call it when a forwarding handler first runs; see cpp/ffi/forwarding.h.
    """
    try:
        library = load_handlers(platform.decode())
        library.jaxmg_handler.restype = ctypes.c_void_p
        return library.jaxmg_handler(name)
    except BaseException as error:  # No exception may pass through C++.
        text = str(error).encode()[: message_size - 1] + b"\0"
        ctypes.memmove(message, text, len(text))
        return None


def load_handlers(platform: str) -> ctypes.CDLL:
    """Return the library with the handlers of a platform."""
    if platform == "gpu":
        return cuda.library()
    with lock:
        library = _load_host_library()
        blas.hand_over(library)
    return library
