"""Arguments and environments that a command cannot use, each reported on one line."""

import os
from pathlib import Path

import jax


class UsageError(Exception):
    """Reported on one line, with the exit status 2."""


def check_picture(path: Path | None) -> None:
    """Raise `UsageError` unless a PNG can be drawn into `path`, before any other work."""
    if path is None:
        return
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UsageError("--png needs Matplotlib: pip install matplotlib") from None
    if path.is_dir():
        raise UsageError(f"--png must be a file, and {path} is a folder")
    if not path.parent.is_dir():
        raise UsageError(f"--png must be in a folder that exists, got {path}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"--png must be a file that can be written, got {path}")


def devices() -> list[jax.Device]:
    """Return JAX's devices; raise `UsageError` if it has none."""
    try:
        return jax.devices()
    except (RuntimeError, AssertionError) as error:  # JAX asserts that it has a backend.
        reason = one_line(str(error)) or "none of the platforms in JAX_PLATFORMS is available"
        raise UsageError(f"JAX finds no devices: {reason}") from None


def one_line(text: str, most: int = 160) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 3] + "..."
