"""Memory of a process that makes thousands of calls."""

import os
import subprocess
import sys

import pytest

# Memory is measured in a new process, free of threads and buffers of other tests.
PROGRAM = """
import sys
import jax, jaxmg
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P

warm_up, calls, jit = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "jit"
mesh = jax.make_mesh((4,), ("x",))
a = np.random.default_rng(0).standard_normal((24, 24)).astype(np.float32)
a = jax.device_put(a @ a.T + 24 * np.eye(24, dtype=a.dtype), NamedSharding(mesh, P("x", None)))
function = jax.jit(jaxmg.linalg.eigvalsh) if jit else jaxmg.linalg.eigvalsh

def resident_bytes():
    with open("/proc/self/status") as status:
        (line,) = [line for line in status if line.startswith("VmRSS:")]
    return 1024 * int(line.split()[1])

for _ in range(warm_up):
    function(a).block_until_ready()
before = resident_bytes()
for _ in range(calls):
    function(a).block_until_ready()
print(resident_bytes() - before)
"""


@pytest.mark.parametrize("how", ["eager", "jit"])
def test_memory_does_not_grow_with_the_number_of_calls(how):
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
    }
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, "500", "1500", how],
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert result.returncode == 0, result.stderr
    grown = int(result.stdout)
    # A leak of a small node on each device and call adds 30 MiB.
    assert grown < 8 * 2**20, f"1,500 calls added {grown / 2**20:.0f} MiB"
