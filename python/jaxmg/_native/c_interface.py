"""Conventions of the C interface: the folder of the libraries, and error reporting."""

import ctypes
import os
import threading
from pathlib import Path

# Held while libraries are loaded.
lock = threading.RLock()


def library_dir() -> Path:
    """Return the folder of the native libraries: ``JAXMG_LIBRARY_DIR``, or the package's own."""
    override = os.environ.get("JAXMG_LIBRARY_DIR")
    return Path(override) if override else Path(__file__).parents[1] / "lib"


def ask(function, *arguments, error=RuntimeError) -> None:
    """Call a native function that returns 0 on success; raise its message as `error` otherwise."""
    message = ctypes.create_string_buffer(1024)
    if function(*arguments, message, ctypes.c_int64(len(message))) != 0:
        raise error(message.value.decode())
