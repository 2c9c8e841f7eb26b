"""Fetch one wheel with pip, from whichever Python has it."""

import shutil
import subprocess
import sys
from pathlib import Path


def pip_command():
    """The command that runs pip: this Python's, or else one found on the PATH."""
    for candidate in (
        [sys.executable, "-m", "pip"],
        [shutil.which("python3"), "-m", "pip"],
        ["/usr/bin/python3", "-m", "pip"],
        [shutil.which("pip")],
        [shutil.which("pip3")],
    ):
        if candidate[0] is None or not Path(candidate[0]).exists():
            continue
        if subprocess.run([*candidate, "--version"], capture_output=True).returncode == 0:
            return candidate
    raise RuntimeError("pip was not found (python3 -m pip, pip, pip3)")


def download(requirement, folder, *options):
    """Download the wheel of ``requirement`` alone into ``folder``; return its path."""
    command = [*pip_command(), "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*command, *options, f"--dest={folder}", requirement], check=True, stdout=2)
    (wheel,) = Path(folder).glob("*.whl")
    return wheel
