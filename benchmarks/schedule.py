"""What is measured next: the most valuable measurements that fit into the time and the memory."""

from dataclasses import dataclass

import jaxmg
import numpy as np
from jaxmg._tools.bench.routines import TALL_COLUMNS, Routine
from jobs import Job

# Long calls are repeated less often: (at most these seconds, number of samples). With none, the
# first call counts, without its compilation.
_SAMPLES = ((0.02, 15), (0.2, 7), (0.7, 4), (2.0, 2), (6.0, 1))
_USABLE = 0.97  # part of the memory that arrays of any size can fill


@dataclass(frozen=True)
class Trial:
    """A job of a routine, and how it is measured."""

    routine: Routine
    job: Job
    samples: int
    donate: bool  # jaxmg's calls overwrite their matrix: with a copy, it would not fit


def samples_for(seconds: float) -> int:
    """Return the number of timed calls, if one takes `seconds`."""
    return next((number for most, number in _SAMPLES if seconds <= most), 0)


def _result_takes_the_place_of_a(routine: Routine) -> bool:
    """Return whether donating the matrix to a jitted call saves the copy of it."""
    return not (routine.rhs or routine.values_only)


class Schedule:
    """The jobs of one solver, and what is known about their time."""

    def __init__(self, solver, tasks: dict, platform: str, memory: int | None):
        """`tasks`: value of (routine, job) pairs; `memory`: bytes of a device that JAX can use."""
        self._solver = solver
        self._tasks = dict(tasks)
        self._platform = platform
        self._memory = memory
        self._plans = {}
        self._measured = {}  # (routine, dtype, devices) -> the last job and its seconds
        self._overheads = [solver.overhead]
        self.too_large: list[tuple[Routine, Job, str]] = []
        self._drop_too_large()

    @property
    def remaining(self) -> list[tuple[Routine, Job]]:
        return list(self._tasks)

    def next(self, seconds: float) -> Trial | None:
        """Return a trial that ends within `seconds`, and remove it; None if there is none.

        The smallest of the chosen matrices comes first: a peak of memory is visible if it grows.
        """
        chosen = self._chosen(seconds)
        if not chosen:
            return None
        routine, job = min(chosen, key=lambda task: (self.bytes(*task), task[1].n))
        del self._tasks[routine, job]
        return Trial(routine, job, self._samples(routine, job), self._donate(routine, job))

    def learn(self, trial: Trial, wall: float, seconds: float | None):
        """Take note of the time of a trial, and of its calls, if they succeeded."""
        routine, job = trial.routine, trial.job
        if seconds is not None:
            known = self._calls(trial.samples) * seconds + self._preparing(routine, job)
            self._overheads.append(max(0.0, wall - known))
        elif wall > 4 * self._solver.overhead:
            seconds = wall  # at least: it failed late
        if seconds is not None:
            self._measured[routine.name, job.dtype, job.devices] = job, seconds

    def seconds(self, routine: Routine, job: Job) -> float:
        """Return the expected time of a call, scaled from the last one by the planner's model."""
        planned = self._plan(routine, job).seconds
        last = self._measured.get((routine.name, job.dtype, job.devices))
        if last is None:
            return self._solver.slowness * planned
        return last[1] * planned / self._plan(routine, last[0]).seconds

    def bytes(self, routine: Routine, job: Job, donate: bool = False) -> int:
        """Return the planned peak of a device in a call of jaxmg, and in its preparation."""
        plan = self._plan(routine, job)
        if routine.factor:
            return max(plan.total_bytes, self._factor(routine, job).total_bytes)
        return plan.total_bytes + (0 if donate else plan.kept_bytes)

    def wall(self, routine: Routine, job: Job) -> float:
        """Return the expected seconds of a trial, its preparation included."""
        recent = self._overheads[-8:]
        calls = self._calls(self._samples(routine, job))
        seconds = calls * self.seconds(routine, job) + self._preparing(routine, job)
        return sum(recent) / len(recent) + seconds

    def _preparing(self, routine: Routine, job: Job) -> float:
        if not routine.factor:
            return 0.0
        return self._solver.rounds * self._solver.slowness * self._factor(routine, job).seconds

    def _calls(self, samples: int) -> float:
        return self._solver.rounds * (1 + samples)

    def _samples(self, routine: Routine, job: Job) -> int:
        return samples_for(self.seconds(routine, job))

    def _donate(self, routine: Routine, job: Job) -> bool:
        too_large = self._memory is not None and self.bytes(routine, job) > _USABLE * self._memory
        return too_large and _result_takes_the_place_of_a(routine)

    def _chosen(self, seconds: float) -> list[tuple[Routine, Job]]:
        """Return the tasks of the most value for their time."""
        walls = {task: self.wall(*task) for task in self._tasks}
        chosen = []
        for task in sorted(walls, key=lambda task: walls[task] / self._tasks[task]):
            if walls[task] <= seconds:
                chosen.append(task)
                seconds -= walls[task]
        return chosen

    def _drop_too_large(self):
        for routine, job in self.remaining:
            need = self.bytes(routine, job, donate=_result_takes_the_place_of_a(routine))
            if self._memory is not None and need > _USABLE * self._memory:
                del self._tasks[routine, job]
                why = f"needs {need / 2**30:.3g} GiB of {self._memory / 2**30:.3g} GiB"
                self.too_large.append((routine, job, why))

    def _plan(self, routine: Routine, job: Job) -> jaxmg.Plan:
        options = {"vectors": 0} if routine.values_only else {}
        if routine.rhs:
            options["nrhs"] = job.nrhs
        columns = TALL_COLUMNS if routine.tall else job.n
        return self._planned(routine.plan or routine.name, columns, job, **options)

    def _factor(self, routine: Routine, job: Job) -> jaxmg.Plan:
        return self._planned(routine.factor, job.n, job)

    def _planned(self, name: str, columns: int, job: Job, **options) -> jaxmg.Plan:
        key = name, columns, job, *options.items()
        if key not in self._plans:
            shape, dtype = (job.n, columns), np.dtype(job.dtype)
            options |= {"platform": self._platform, "backend": "tiled"}
            self._plans[key] = jaxmg.plan(name, shape, dtype, job.devices, **options)
        return self._plans[key]
