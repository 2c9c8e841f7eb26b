"""jaxmg, and JAX's own solvers on one device."""

import statistics
from dataclasses import replace

from jaxmg._tools.bench.routines import Routine
from jobs import Job, Record
from processes import Failed, JaxTeam, JaxWorker
from schedule import Trial


class JaxMg:
    """The functions of jaxmg that the routines measure, with one backend."""

    slowness = 1.0
    rounds = 1
    overhead = 1.0

    def __init__(self, name: str, worker: JaxWorker | JaxTeam, tile, devices=None, share=1):
        """`devices`: the only number of devices that is measured; by default any."""
        self.name = name
        self.share = share
        self.by_planner = True
        self._worker = worker
        self._tile = tile
        self._devices = devices

    def named(self, routine: Routine) -> str:
        return self.name

    def available(self, routine: Routine) -> str | None:
        return None

    def job_for(self, job: Job) -> Job | None:
        return job if self._devices in (None, job.devices) else None

    def run(self, trial: Trial, seconds: float) -> Record:
        job = trial.job
        if job.n % job.devices:
            raise Failed(f"JAX shards {job.n} rows over {job.devices} devices unevenly")
        how = dict(tile=self._tile, samples=trial.samples, donate=trial.donate)
        answer = self._worker.ask(trial.routine.name, seconds, problem=vars(job) | how)
        return _record(self.name, job, answer)

    def stop(self):
        self._worker.stop()


class Vendor(JaxMg):
    """jaxmg with one of NVIDIA's libraries as its backend."""

    slowness = 2.0

    def __init__(self, backend: str, platform: str, devices: int, tile: int | None):
        worker = JaxWorker(platform, devices, JAXMG_BACKEND=backend)
        super().__init__(f"jaxmg {backend}", worker, tile)
        self.by_planner = False
        self._backend = backend
        self._found = None

    def available(self, routine: Routine) -> str | None:
        if self._found is None:
            try:
                self._found = self._worker.ask("backends", 60)[self._backend]
            except Failed as failure:
                self._found = str(failure)
        if isinstance(self._found, str):
            return self._found
        has = (routine.plan or routine.name) in self._found["routines"]
        return None if has else f"has no {routine.name}"

    def run(self, trial: Trial, seconds: float) -> Record:
        record = super().run(trial, seconds)
        record.details["library"] = self._found["library"]
        return record


class JaxSolver:
    """JAX's functions for the routines, in jit."""

    name = "jax"
    slowness = 4.0
    rounds = 1
    overhead = 1.5
    share = 1
    by_planner = False

    def __init__(self, platform: str):
        self._worker = JaxWorker(platform)

    def named(self, routine: Routine) -> str:
        return f"{self.name} {routine.jax}"

    def available(self, routine: Routine) -> str | None:
        return None

    def job_for(self, job: Job) -> Job | None:
        return replace(job, devices=1)

    def run(self, trial: Trial, seconds: float) -> Record:
        problem = vars(trial.job) | {"devices": None, "samples": trial.samples}
        answer = self._worker.ask(f"jax_{trial.routine.name}", seconds, problem=problem)
        return _record(self.named(trial.routine), trial.job, answer)

    def stop(self):
        self._worker.stop()


def _record(name: str, job: Job, answer: dict) -> Record:
    return Record(name, job, statistics.median(answer["samples"]), **answer)
