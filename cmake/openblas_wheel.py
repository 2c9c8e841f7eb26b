"""Put the libraries of OpenBLAS's wheel on PyPI into FOLDER/lib, for tests on another architecture.

python openblas_wheel.py MACHINE FOLDER
"""

import sys
import tempfile
import zipfile
from pathlib import Path

from pip_download import download

REQUIREMENT = "scipy-openblas32==0.3.31.188.0"


def main():
    machine, folder = sys.argv[1], Path(sys.argv[2])
    if (folder / "lib/libscipy_openblas.so").is_file():
        return
    with tempfile.TemporaryDirectory() as scratch:
        platforms = [f"--platform={name}_{machine}" for name in ("manylinux2014", "manylinux_2_17")]
        with zipfile.ZipFile(download(REQUIREMENT, scratch, *platforms)) as archive:
            for member in archive.namelist():
                if ".so" in member:
                    target = folder / "lib" / Path(member).name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(member))


if __name__ == "__main__":
    main()
