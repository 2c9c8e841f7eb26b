"""Make a small CUDA toolkit from NVIDIA's wheels on PyPI: headers, and libraries to link against.

    python cmake/cuda_wheels.py 12|13 FOLDER [MACHINE [PART]]

FOLDER/include and FOLDER/lib then hold the files that a build for that CUDA major needs, except a
compiler (NVRTC compiles the kernels). The releases are the oldest that JAX accepts: a library built
with them runs beside every later release. About 0.8 GB are fetched, one wheel at a time. With PART,
only the wheels whose name has this part are fetched.
"""

import platform
import re
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from pip_download import download

WHEELS = {
    12: (
        "nvidia-cuda-runtime-cu12==12.1.105",
        "nvidia-cuda-nvcc-cu12==12.1.105",  # only for the headers in include/crt
        "nvidia-cuda-cccl-cu12==12.3.101.post1",  # the oldest that has nv/target
        "nvidia-cuda-nvrtc-cu12==12.1.105",
        "nvidia-nvtx-cu12==12.1.105",  # only headers
        "nvidia-cublas-cu12==12.1.3.1",
        "nvidia-cusolver-cu12==11.4.5.107",
        "nvidia-nccl-cu12==2.18.1",
    ),
    # The oldest wheels for aarch64, which are of CUDA 12.3.
    (12, "aarch64"): (
        "nvidia-cuda-runtime-cu12==12.3.101",
        "nvidia-cuda-nvcc-cu12==12.3.107",
        "nvidia-cuda-cccl-cu12==12.3.101.post1",
        "nvidia-cuda-nvrtc-cu12==12.3.107",
        "nvidia-nvtx-cu12==12.3.101",
        "nvidia-cublas-cu12==12.3.4.1",
        "nvidia-cusolver-cu12==11.5.4.101",
        "nvidia-nccl-cu12==2.20.3",
    ),
    13: (
        "nvidia-cuda-runtime==13.0.48",
        "nvidia-cuda-crt==13.0.48",
        "nvidia-cuda-cccl==13.0.50",  # nv/target, for cuda_fp16.h
        "nvidia-cuda-nvrtc==13.0.48",
        "nvidia-nvtx==13.0.39",  # only headers
        "nvidia-cublas==13.0.0.19",
        "nvidia-cusolver==12.0.3.29",
        "nvidia-nccl-cu13==2.27.7",
    ),
}
# Libraries that are linked or, for NVRTC, loaded. Others, such as cuBLASLt, are large and not
# needed.
LIBRARY = re.compile(r"lib(cudart|cublas|cusolver|nccl|nvrtc|nvrtc-builtins)\.so\.[0-9.]+$")
PLATFORMS = ("manylinux1", "manylinux2014", "manylinux_2_17", "manylinux_2_18", "manylinux_2_27")


def unpack(wheel, folder):
    """Put the headers and the wanted libraries of one wheel into ``folder``."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            place = re.fullmatch(r"nvidia/[^/]+/(include/.+|lib/[^/]+)", member)
            if not place or member.endswith(("/", "__init__.py")):
                continue
            target = folder / place[1]
            if target.parent.name == "lib" and not LIBRARY.match(target.name):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, open(target, "wb") as sink:
                while chunk := source.read(1 << 20):
                    sink.write(chunk)


def main():
    if len(sys.argv) not in (3, 4, 5) or sys.argv[1] not in ("12", "13"):
        sys.exit(__doc__)
    major, folder = int(sys.argv[1]), Path(sys.argv[2])
    machine = sys.argv[3] if len(sys.argv) > 3 else platform.machine()
    part = sys.argv[4] if len(sys.argv) > 4 else ""
    wheels = [w for w in WHEELS.get((major, machine), WHEELS[major]) if part in w]
    done = folder / "wheels.txt"  # written last: lists the releases that are complete here
    complete = done.read_text().split() if done.exists() else []
    if complete == wheels:
        return
    if not set(complete) <= set(wheels):  # of other releases
        shutil.rmtree(folder)
        complete = []
    for requirement in wheels:
        if requirement in complete:
            continue
        print(f"Fetching {requirement}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            options = [f"--platform={name}_{machine}" for name in PLATFORMS]
            unpack(download(requirement, scratch, "--python-version=3.12", *options), folder)
    done.write_text("\n".join(wheels) + "\n")


if __name__ == "__main__":
    main()
