"""NetKet's distributed solvers and its VMC_SR driver, with this package in place of JAXMg 1.4."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "generate"))
import outcomes  # noqa: E402

OLDEST = (3, 23)


def reason_to_skip():
    try:
        version = importlib.metadata.version("netket")
    except importlib.metadata.PackageNotFoundError:
        return "NetKet is not installed (pip install '.[netket]')"
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        return f"NetKet {version} calls JAXMg in another way; 3.23 is needed"
    return None


@pytest.mark.skipif(reason_to_skip() is not None, reason=str(reason_to_skip()))
@pytest.mark.parametrize("part", ["not vmc", "vmc"])
def test_on_four_cpu_devices(part):
    """A child process runs the tests: NetKet counts devices, and changes JAX's configuration."""
    tests = Path(__file__).with_name("netket_solvers.py")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests), "-k", part],
        env={
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout and "skipped" not in result.stdout


@pytest.mark.skipif(reason_to_skip() is not None, reason=str(reason_to_skip()))
def test_example():
    last = outcomes.run("examples/netket_vmc.py").output.splitlines()[-1]
    assert "jaxmg.linalg take the same steps" in last
