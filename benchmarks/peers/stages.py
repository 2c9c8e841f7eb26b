"""The stages of jaxmg's eigensolver, measured by the program of ../stages.

The program is the target syevd_stages_host or syevd_stages_cuda<major> of a build with the C++
tests, in the folder JAXMG_LIBRARY_DIR of that build. JAXMG_TEST_RANKS_PER_GPU sets the number of
ranks that share a GPU.
"""

import json
import os
import statistics
from dataclasses import replace
from pathlib import Path

from jaxmg._tools.bench.routines import Routine
from jobs import Job, Record
from processes import Failed, run_program
from schedule import Trial

from peers.cuda_programs import loader_path, seconds_of_calls

_PROGRAMS = {
    "gpu": ("syevd_stages_cuda13", "syevd_stages_cuda12"),
    "cpu": ("syevd_stages_host",),
}


class Stages:
    """Times of the stages of jaxmg's eigensolver, called from C++."""

    name = "jaxmg by stages"
    slowness = 1.0
    rounds = 1
    overhead = 3.0
    share = 1
    by_planner = False

    def __init__(self, platform: str):
        self._on_gpu = platform == "gpu"
        folder = Path(os.environ.get("JAXMG_LIBRARY_DIR", "")).absolute()
        found = [folder / name for name in _PROGRAMS[platform]]
        self._names = " or ".join(path.name for path in found)
        self._program = next((path for path in found if path.is_file()), None)

    def named(self, routine: Routine) -> str:
        return self.name

    def available(self, routine: Routine) -> str | None:
        if not routine.stages:
            return "measures eigenproblems only"
        if self._program is None:
            return f"JAXMG_LIBRARY_DIR is not a build with {self._names}"
        return None

    def job_for(self, job: Job) -> Job | None:
        return replace(job, devices=job.devices * self._ranks_per_device())

    def run(self, trial: Trial, seconds: float) -> Record:
        job = trial.job
        command = [self._program, trial.routine.name, job.n, job.dtype, job.nrhs, job.devices]
        command.append(max(1, trial.samples))
        environment = loader_path() if self._on_gpu else {}
        if self._ranks_per_device() > 1:
            # Streams of ranks that wait for each other must not share a queue of the GPU.
            environment["CUDA_DEVICE_MAX_CONNECTIONS"] = "32"
        output = run_program([str(word) for word in command], seconds, environment)
        outcomes = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        if not outcomes:
            raise Failed("the program printed no result")
        outcome = outcomes[0]
        samples = seconds_of_calls(outcome)
        stages = {name: values[1:] for name, values in outcome["steps"].items()}
        kept = {name: outcome[name] for name in ("orthogonality", "tile") if name in outcome}
        sharing = self._ranks_per_device()
        return Record(
            self.name,
            job,
            statistics.median(samples[1:]),
            samples[1:],
            first_call=samples[0],
            residual=outcome["residual"],
            note=f"{sharing} ranks share a GPU" if sharing > 1 else "",
            details={"stages": stages} | kept,
        )

    def stop(self):
        pass

    def _ranks_per_device(self) -> int:
        return int(os.environ.get("JAXMG_TEST_RANKS_PER_GPU", "1")) if self._on_gpu else 1
