"""The programs of examples/launch on CPU, alone and in the environments of the launchers."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCH = Path(__file__).parents[2] / "examples" / "launch"
ENVIRONMENT = {
    **os.environ,
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
}


def start(*arguments, **environment):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(
        command,
        env=ENVIRONMENT | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_solved(processes, count):
    """Check that the first process printed the residual of a system on `count` processes."""
    try:
        outputs = [process.communicate(timeout=100) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert not any(process.returncode for process in processes), outputs
    last = outputs[0][0].splitlines()[-1]
    assert last.startswith(f"{count} processes, {2 * count} devices"), outputs
    assert float(last.split()[-1]) < 1e-10


def test_one_process():
    assert_solved([start(LAUNCH / "solve.py")], 1)


def test_a_process_for_each_device():
    assert_solved([start(LAUNCH / "local.py", 2, LAUNCH / "solve.py")], 2)


def slurm(job, number):
    return {
        "SLURM_JOB_ID": str(job),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(number),
        "SLURM_LOCALID": str(number),
    }


def open_mpi(job, number):
    return {
        "OMPI_MCA_orte_hnp_uri": f"{job << 12}.0;tcp://127.0.0.1:1",
        "OMPI_COMM_WORLD_SIZE": "2",
        "OMPI_COMM_WORLD_RANK": str(number),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(number),
    }


# JAX only reads these variables of the launchers. It derives the port from the job number.
@pytest.mark.parametrize("launcher", [slurm, open_mpi])
def test_a_launcher(launcher):
    job = random.randrange(1, 4096)
    assert_solved(
        [start(LAUNCH / "solve.py", "cluster", **launcher(job, number)) for number in range(2)], 2
    )


def test_a_process_that_fails_ends_the_others(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import sys, time\ntime.sleep(100 * (sys.argv[3] == '0'))\nsys.exit(3)")
    process = start(LAUNCH / "local.py", 2, program)
    process.communicate(timeout=50)
    assert process.returncode


@pytest.mark.parametrize("script", ["slurm.sh", "mpi.sh"])
def test_scripts_are_valid(script):
    subprocess.run(["bash", "-n", LAUNCH / script], check=True)
