"""Description of the machine, for the head of a table."""

import os
import platform
import re
import subprocess
from pathlib import Path


def describe(machine: dict) -> str:
    """Return, for example, "4 x NVIDIA H200" or the CPU's name and its number of cores."""
    if machine["platform"] == "gpu":
        return f"{machine['devices']} x {machine['kind']}"
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"model name\s*:\s*(.*)", cpuinfo.read_text())
        name = found.group(1).strip() if found else name
    return f"{name}, {_cores()} cores, as {machine['devices']} virtual devices"


def short_name(machine: dict) -> str:
    """Return the hardware as part of a file name."""
    kind = machine["kind"] if machine["platform"] == "gpu" else f"cpu-{_cores()}-cores"
    return re.sub(r"[^a-z0-9]+", "-", f"{machine['devices']}x-{kind}".lower()).strip("-")


def driver(machine: dict) -> str:
    if machine["platform"] != "gpu":
        return "none"
    try:
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        return done.stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return "unknown"


def _cores() -> int:
    return len(os.sched_getaffinity(0))
