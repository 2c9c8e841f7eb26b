"""Multi-process programs: one process per GPU, or several CPU devices or GPUs per process."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

WORKER = Path(__file__).parent / "multi_process_worker.py"

# Number of processes that may share a GPU. Their NCCL_HOSTID differs: NCCL treats them as processes
# on different machines, and uses its network transport.
SHARING = int(os.environ.get("JAXMG_TEST_RANKS_PER_GPU", "1"))


@pytest.fixture
def start(tmp_path):
    """Return a function that runs a task in processes and returns (exit status, output) of each.

    No process outlives the test. After one process fails, the others have a few seconds to end,
    since they may be waiting for it. The output of process 0 is printed as it comes (pytest -s).
    """
    running = []

    def start(task, processes, *, limit, own_gpu=False, **environment):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # This process has most of the memory.
            "JAXMG_TEST_GPUS": str(len(jax.devices())),
            "JAXMG_TEST_GPUS_EACH": "1",
            **environment,
        }
        logs = [tmp_path / f"process{i}.log" for i in range(processes)]
        for i, log in enumerate(logs):
            with log.open("w") as out:
                arguments = [WORKER, task, port, processes, i]
                own = {"NCCL_HOSTID": f"process{i}"} if SHARING > 1 else {}
                if own_gpu:  # The process sees no other.
                    own["CUDA_VISIBLE_DEVICES"] = str(i % len(jax.devices()))
                    own["JAXMG_TEST_GPUS"] = "1"
                running.append(
                    subprocess.Popen(
                        [sys.executable, *map(str, arguments)],
                        env=environment | own,
                        stdout=out,
                        stderr=subprocess.STDOUT,
                    )
                )
        deadline = time.monotonic() + limit
        printed = 0
        while time.monotonic() < deadline:
            news = logs[0].read_text()[printed:]
            print(news, end="", flush=True)
            printed += len(news)
            states = [process.poll() for process in running]
            if all(state is not None for state in states):
                break
            if any(state not in (None, 0, -signal.SIGKILL) for state in states):
                deadline = min(deadline, time.monotonic() + 5)
            time.sleep(0.1)
        for process in running:
            process.kill()
            process.wait()
        states = [process.returncode for process in running]
        return list(zip(states, [log.read_text() for log in logs], strict=True))

    yield start
    for process in running:
        process.kill()


def assert_fine(results):
    text = "\n".join(f"--- process {i}: {r[0]}\n{r[1][-4000:]}" for i, r in enumerate(results))
    for state, output in results:
        assert state == 0 and "\nfine\n" in "\n" + output, text
    return text


@pytest.fixture(params=[2, 4], ids="G={}".format)
def gpus(request):
    found = len(jax.devices())
    if request.param == 2 and found >= 4 and not request.config.getoption("all_cases"):
        pytest.skip("four GPUs test the same with more processes")
    # Only two processes share a GPU: more take longer, and test nothing else in Python.
    if found < request.param and (SHARING * found < 2 or request.param > 2):
        pytest.skip(f"needs {request.param} GPUs, JAX finds {found}")
    return request.param


CPU = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}


def test_cpu_devices_of_two_processes(start):
    assert_fine(start("cpu", 2, limit=180, JAXMG_TIMEOUT_SECONDS="30", **CPU))


def assert_fine_but_the_last(results):
    *others, (state, output) = results
    assert state == -signal.SIGKILL, output
    print(assert_fine(others))


def test_one_of_four_processes_is_killed(start):
    one_each = CPU | {"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
    assert_fine_but_the_last(start("killed", 4, limit=120, JAXMG_TIMEOUT_SECONDS="30", **one_each))


IPC = {"JAXMG_TEST_EXCHANGE": "(CUDA IPC)"}
NCCL = {"JAXMG_TEST_EXCHANGE": "through NCCL"}


@pytest.mark.gpu
def test_one_process_for_each_gpu(start, gpus):
    assert_fine(start("gpu", gpus, limit=180, JAXMG_TIMEOUT_SECONDS="60", **IPC))


@pytest.mark.gpu
def test_one_process_for_each_gpu_through_nccl(start, gpus):
    environment = NCCL | {"JAXMG_TIMEOUT_SECONDS": "60", "JAXMG_TRANSPORT": "nccl"}
    assert_fine(start("some", gpus, limit=120, **environment))


@pytest.mark.gpu
def test_processes_that_see_their_own_gpu_only(start, gpus):
    assert_fine(start("some", gpus, limit=120, own_gpu=True, JAXMG_TIMEOUT_SECONDS="60", **IPC))


@pytest.mark.gpu
@pytest.mark.parametrize("preallocate", ["true", "false"])
def test_default_allocator(start, gpus, preallocate):
    memory = {
        "XLA_PYTHON_CLIENT_PREALLOCATE": preallocate,
        "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.06",
    }
    assert_fine(start("quick", gpus, limit=90, JAXMG_TIMEOUT_SECONDS="30", **memory, **IPC))


@pytest.mark.gpu
@pytest.mark.parametrize("allocator", ["cuda_async", "platform"])
def test_allocators_without_ipc_use_nccl(start, gpus, allocator):
    environment = NCCL | {"XLA_PYTHON_CLIENT_ALLOCATOR": allocator, "JAXMG_TIMEOUT_SECONDS": "60"}
    text = assert_fine(start("quick", gpus, limit=90, **environment))
    assert "jaxmg: the GPUs of several processes exchange through NCCL" in text
    assert allocator in text


@pytest.mark.gpu
def test_two_processes_with_two_gpus_each(start):
    if len(jax.devices()) < 4:
        pytest.skip(f"needs 4 GPUs, JAX finds {len(jax.devices())}")
    environment = IPC | {"JAXMG_TIMEOUT_SECONDS": "60", "JAXMG_TEST_GPUS_EACH": "2"}
    assert_fine(start("grid", 2, limit=180, **environment))


@pytest.mark.gpu
def test_a_fault_in_one_process(start, gpus):
    print(assert_fine(start("fault", gpus, limit=120, JAXMG_TIMEOUT_SECONDS="4")))


@pytest.mark.gpu
def test_a_process_with_a_gpu_is_killed(start, gpus):
    assert_fine_but_the_last(start("killed", gpus, limit=120, JAXMG_TIMEOUT_SECONDS="30"))


@pytest.mark.gpu
def test_a_process_with_a_gpu_is_killed_while_others_wait_in_nccl(start, gpus):
    environment = {"JAXMG_TIMEOUT_SECONDS": "30", "JAXMG_TRANSPORT": "nccl"}
    assert_fine_but_the_last(start("killed", gpus, limit=120, **environment))


@pytest.mark.gpu
@pytest.mark.skipif("JAXMG_TEST_TIMINGS" not in os.environ, reason="JAXMG_TEST_TIMINGS is not set")
def test_timings(start, gpus, capsys):
    text = assert_fine(start("timings", gpus, limit=150))
    with capsys.disabled():
        print("\n" + "\n".join(line for line in text.splitlines() if line.startswith("TIMING")))
