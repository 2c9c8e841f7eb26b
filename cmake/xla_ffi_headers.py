"""Put the XLA FFI headers of one jaxlib release into a folder.

    python xla_ffi_headers.py VERSION FOLDER

They are copied from that jaxlib where this Python has it. Otherwise its wheel is fetched with pip,
for any Python, since only the headers are used.
"""

import importlib.metadata
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HEADER = Path("xla/ffi/api/ffi.h")


def installed(version):
    """The include folder of an installed jaxlib of this version, or None."""
    try:
        distribution = importlib.metadata.distribution("jaxlib")
    except importlib.metadata.PackageNotFoundError:
        return None
    include = Path(distribution.locate_file("jaxlib/include"))
    return include if distribution.version == version and (include / HEADER).is_file() else None


def unpack(version, folder):
    """Extract the headers from the wheel of this version into ``folder``."""
    from pip_download import download

    target = f"--platform=manylinux2014_{platform.machine()}"
    with tempfile.TemporaryDirectory() as scratch:
        wheel = download(f"jaxlib=={version}", scratch, "--python-version=3.12", target)
        with zipfile.ZipFile(wheel) as archive:
            headers = [name for name in archive.namelist() if name.endswith(".h")]
            archive.extractall(scratch, headers)
        shutil.copytree(Path(scratch) / "jaxlib/include", folder, dirs_exist_ok=True)


def main():
    version, folder = sys.argv[1], Path(sys.argv[2])
    if (folder / HEADER).is_file():
        return
    try:
        include = installed(version)
        if include:
            shutil.copytree(include, folder, dirs_exist_ok=True)
        else:
            unpack(version, folder)
    except (OSError, RuntimeError, subprocess.CalledProcessError, zipfile.BadZipFile) as error:
        sys.exit(f"The XLA FFI headers of jaxlib {version} could not be fetched: {error}")


if __name__ == "__main__":
    main()
