"""jaxmg, and JAX's own solvers on one device."""

import statistics
from dataclasses import replace

from jaxmg._tools.bench.routines import Routine
from jobs import Job, Record
from processes import Failed, JaxWorker


class JaxMg:
    """The function of jaxmg that a routine measures, with backend="auto" or a given backend."""

    def __init__(self, machine: dict, routine: Routine, tile: int | None, backend: str = "auto"):
        self.name = "jaxmg" if backend == "auto" else f"jaxmg {backend}"
        self._backend = backend
        self._routine = routine
        self._tile = tile
        self._devices = machine["devices"]
        self._platform = machine["platform"]
        self._worker = None
        self._used = None

    def available(self) -> str | None:
        return None

    def job_for(self, job: Job) -> Job | None:
        return job

    def run(self, job: Job, seconds: float) -> Record:
        if job.n % job.devices:
            raise Failed(f"JAX shards {job.n} rows over {job.devices} devices unevenly")
        if self._used != job.devices:
            # A new process for each number of devices, to reset the peak memory.
            self.stop()
            self._worker = JaxWorker(self._platform, self._devices, JAXMG_BACKEND=self._backend)
            self._used = job.devices
        answer = self._worker.ask(self._routine.name, seconds, **vars(job), tile=self._tile)
        return _record(self.name, job, answer)

    def stop(self):
        if self._worker is not None:
            self._worker.stop()


class JaxSolver:
    """JAX's function for a routine, in jit."""

    def __init__(self, machine: dict, routine: Routine):
        self.name = f"jax {routine.jax}"
        self._task = f"jax_{routine.name}"
        self._worker = JaxWorker(machine["platform"])

    def available(self) -> str | None:
        return None

    def job_for(self, job: Job) -> Job | None:
        return replace(job, devices=1)

    def run(self, job: Job, seconds: float) -> Record:
        answer = self._worker.ask(self._task, seconds, n=job.n, dtype=job.dtype, nrhs=job.nrhs)
        return _record(self.name, job, answer)

    def stop(self):
        self._worker.stop()


def _record(name: str, job: Job, answer: dict) -> Record:
    return Record(name, job, statistics.median(answer["samples"]), **answer)
