"""jaxmg itself, and JAX's own solver on one device."""

import statistics
from dataclasses import replace

from jobs import Job, Record
from processes import Failed, JaxWorker


class JaxMg:
    """jaxmg.potrs."""

    name = "jaxmg"

    def __init__(self, machine: dict, tile: int | None):
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
            # A fresh process for each number of devices: its peak of memory begins anew.
            self.stop()
            self._worker = JaxWorker(self._platform, self._devices)
            self._used = job.devices
        answer = self._worker.ask("potrs", seconds, **vars(job), tile=self._tile)
        return _record(self.name, job, answer)

    def stop(self):
        if self._worker is not None:
            self._worker.stop()


class ChoSolve:
    """jax.scipy.linalg.cho_factor and cho_solve, in jit."""

    name = "jax cho_solve"

    def __init__(self, machine: dict):
        self._worker = JaxWorker(machine["platform"])

    def available(self) -> str | None:
        return None

    def job_for(self, job: Job) -> Job | None:
        return replace(job, devices=1)

    def run(self, job: Job, seconds: float) -> Record:
        answer = self._worker.ask("cho_solve", seconds, n=job.n, dtype=job.dtype, nrhs=job.nrhs)
        return _record(self.name, job, answer)

    def stop(self):
        self._worker.stop()


def _record(name: str, job: Job, answer: dict) -> Record:
    return Record(name, job, statistics.median(answer["samples"]), **answer)
