"""Devices and precision of the test run: 8 virtual CPU devices, or the GPUs that JAX finds."""

import collections
import gc
import importlib.metadata
import itertools
import os
import re
import sys
from pathlib import Path

os.environ.setdefault("JAXMG_TIMEOUT_SECONDS", "60")
# Matrices of tests are small, and test the work of several devices; see test_one_rank.py.
os.environ.setdefault("JAXMG_ONE_RANK_UP_TO", "0")
xla_flags = os.environ.get("XLA_FLAGS", "")
if "xla_force_host_platform_device_count" not in xla_flags:
    xla_flags += " --xla_force_host_platform_device_count=8"
# XLA ends the process when CPU devices have waited 40 s for each other, as they do on a machine
# that stands still for a while. JAX 0.7 does not know the flag.
if int(importlib.metadata.version("jaxlib").split(".")[1]) >= 8:
    xla_flags += " --xla_cpu_collective_call_terminate_timeout_seconds=120"
os.environ["XLA_FLAGS"] = xla_flags
sys.path.insert(0, str(Path(__file__).parent))

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
from jax.sharding import AxisType, Mesh  # noqa: E402

jax.config.update("jax_enable_x64", True)

# Tracing makes many objects and few cycles: collect garbage rarely, and exempt imported modules.
gc.freeze()
gc.set_threshold(100_000, 50, 50)


def pytest_addoption(parser):
    parser.addoption(
        "--share",
        metavar="I/N",
        default="0/1",
        help="of each test, run the cases whose number is I modulo N, and at least one; "
        "the shares 0/N to (N - 1)/N have all cases",
    )
    parser.addoption(
        "--all-cases", action="store_true", help="run all cases of tests with several parameters"
    )


def parameters(item):
    """Return the values of the parameters of a test's case; names in one mark are one parameter."""
    values = dict(item.callspec.params)
    together = [
        re.split(r"\s*,\s*", m.args[0]) if isinstance(m.args[0], str) else m.args[0]
        for m in item.iter_markers("parametrize")
    ]
    found = [tuple(repr(values.pop(name)) for name in names) for names in together]
    return found + [(name, repr(value)) for name, value in values.items()]


def with_each_value(items):
    """Return cases of a test that have each value of each parameter, in new pairs if possible.

    The C++ tests have all combinations of ranks, dtypes and shapes.
    """
    if not hasattr(items[0], "callspec"):
        return items
    of_item = {item: list(enumerate(parameters(item))) for item in items}
    missing = {value for values in of_item.values() for value in values}
    pairs, selected = set(), []
    while missing:
        best = max(
            (item for item in items if item not in selected),
            key=lambda item: (
                len(missing.intersection(of_item[item])),
                len(set(itertools.combinations(of_item[item], 2)) - pairs),
            ),
        )
        missing.difference_update(of_item[best])
        pairs.update(itertools.combinations(of_item[best], 2))
        selected.append(best)
    return [item for item in items if item in selected]


def is_in_share(number, count, part, parts):
    """Return whether case `number` of a test with `count` cases is in a share of the cases."""
    return number % parts == part % min(parts, count)


def pytest_collection_modifyitems(config, items):
    part, parts = map(int, config.getoption("share").split("/"))
    cases = collections.defaultdict(list)
    for item in items:
        cases[item.nodeid.partition("[")[0]].append(item)
    selected = set()
    for of_test in cases.values():
        marks = {mark.name for mark in of_test[0].iter_markers()}
        if not config.getoption("all_cases") and not marks & {"all_cases", "gpu"}:
            of_test = with_each_value(of_test)
        selected |= {
            item
            for number, item in enumerate(of_test)
            if is_in_share(number, len(of_test), part, parts)
        }
    config.hook.pytest_deselected(items=[item for item in items if item not in selected])
    items[:] = [item for item in items if item in selected]
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
