"""Devices and precision of the test run: 8 virtual CPU devices, or the GPUs that JAX finds."""

import os
import sys
from pathlib import Path

os.environ.setdefault("JAXMG_TIMEOUT_SECONDS", "60")
# Matrices of tests are small, and test the work of several devices; see test_one_rank.py.
os.environ.setdefault("JAXMG_ONE_RANK_UP_TO", "0")
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = (
        os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    )
sys.path.insert(0, str(Path(__file__).parent))

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
from jax.sharding import AxisType, Mesh  # noqa: E402

jax.config.update("jax_enable_x64", True)


def pytest_collection_modifyitems(items):
    if jax.default_backend() != "gpu":
        skip = pytest.mark.skip(reason="JAX finds no GPU")
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(skip)


@pytest.fixture
def devices():
    return jax.devices()


@pytest.fixture
def make_mesh(devices):
    """Return a function that makes a mesh of the first devices, or skips if they are too few."""

    def make(*shape, axis_type="Auto", names="xyz"):
        size = int(np.prod(shape))
        if size > len(devices):
            pytest.skip(f"needs {size} devices, JAX finds {len(devices)}")
        grid = np.array(devices[:size]).reshape(shape)
        types = (getattr(AxisType, axis_type),) * len(shape)
        return Mesh(grid, tuple(names[: len(shape)]), axis_types=types)

    return make


@pytest.fixture(params=["Auto", "Explicit"])
def axis_type(request):
    return request.param


@pytest.fixture(params=[1, 2, 3, 4, 8], ids="P={}".format)
def ranks(request):
    return request.param
