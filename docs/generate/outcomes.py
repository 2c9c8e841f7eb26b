"""Output and picture of programs of the repository, for the documentation and for the tests.

Programs run on four virtual CPU devices. A program may save a PNG to the path in the variable
JAXMG_EXAMPLE_PICTURE. Outcomes are kept in build/examples, and made anew if the program or the
package changes: `make docs` and the tests run each program once.
"""

import functools
import hashlib
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import jaxmg

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "build" / "examples"
TIME_LIMIT = 300  # seconds


class Outcome(NamedTuple):
    output: str
    picture: bytes | None
    missing: str  # the package without which the program does not run here


@functools.cache
def _package() -> bytes:
    """Return a digest of the package and its library."""
    digest = hashlib.sha256(jax.__version__.encode())
    package = Path(jaxmg.__file__).parent
    library = Path(os.environ.get("JAXMG_LIBRARY_DIR", package / "lib")) / "libjaxmg_host.so"
    for path in (*sorted(package.rglob("*.py")), library):
        digest.update(path.read_bytes())
    return digest.digest()


def run(*command: str) -> Outcome:
    """Return the outcome of a program of the repository with its arguments, run if not kept."""
    source = b"".join((ROOT / part).read_bytes() for part in command if part.endswith(".py"))
    key = hashlib.sha256(_package() + source + "\0".join(command).encode()).hexdigest()[:20]
    CACHE.mkdir(parents=True, exist_ok=True)
    output, picture = CACHE / f"{key}.txt", CACHE / f"{key}.png"
    if not output.exists():
        environment = {
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": "4",
            "JAXMG_ONE_RANK_UP_TO": "0",  # all devices work, however small the matrices
            "JAXMG_EXAMPLE_PICTURE": str(picture),
            "MPLBACKEND": "Agg",
        }
        # The number of devices is the one above.
        flags = environment.get("XLA_FLAGS", "").split()
        environment["XLA_FLAGS"] = " ".join(flag for flag in flags if "device_count" not in flag)
        done = subprocess.run(
            [sys.executable, *command],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
            check=False,
        )
        last = (done.stderr.strip().splitlines() or [""])[-1]
        if done.returncode and last.startswith("ModuleNotFoundError"):
            return Outcome("", None, last.split("'")[1].split(".")[0])
        if done.returncode:
            raise RuntimeError(f"{shlex.join(command)} failed:\n{done.stdout}{done.stderr}")
        lines = done.stdout.splitlines(keepends=True)
        # A library of JAX reports its connections.
        output.write_text("".join(line for line in lines if not line.startswith("[Gloo]")))
    return Outcome(output.read_text(), picture.read_bytes() if picture.exists() else None, "")
