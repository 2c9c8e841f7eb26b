"""Jobs and records: one job is one problem for one solver on some of the devices."""

from dataclasses import dataclass, field

from jaxmg._tools.bench.routines import Routine

QUICK_SIZES = {"gpu": (1024, 4096), "cpu": (256, 512)}
OTHER_DTYPES = ("float32", "complex128")

ITEMSIZE = {"float32": 4, "float64": 8, "complex64": 8, "complex128": 16}

EPS = {"float32": 2**-23, "float64": 2**-52, "complex64": 2**-23, "complex128": 2**-52}


@dataclass(frozen=True)
class Job:
    n: int
    dtype: str
    nrhs: int  # 0 where the routine has no right-hand sides
    devices: int

    def __str__(self):
        rhs = f", {self.nrhs} right-hand sides" if self.nrhs > 1 else ""
        return f"N={self.n} {self.dtype}{rhs} on {self.devices}"

    @property
    def bytes(self) -> int:
        return self.n**2 * ITEMSIZE[self.dtype]

    @property
    def bound(self) -> float:
        """Return what the errors of a right result do not reach."""
        return self.n * EPS[self.dtype]


@dataclass
class Record:
    """Outcome of one job; `reason` is the reason for a missing time."""

    system: str
    job: Job
    seconds: float | None = None
    samples: list[float] = field(default_factory=list)
    first_call: float | None = None
    residual: float | None = None
    peak_bytes: int | None = None
    planned_bytes: int | None = None
    note: str = ""
    details: dict = field(default_factory=dict)
    reason: str = ""

    @property
    def orthogonality(self) -> float | None:
        """Loss of orthonormality of the eigenvectors."""
        return self.details.get("orthogonality")

    @property
    def of_planned(self) -> float | None:
        """Measured time in units of the planner's."""
        planned = self.details.get("planned_seconds")
        return self.seconds / planned if self.seconds and planned else None


def rhs_count(word: str, n: int) -> int:
    """Return the number of right-hand sides that "16" or "N/16" stands for."""
    return max(1, n // int(word[2:])) if word.startswith("N/") else int(word)


def plan_jobs(options, routine: Routine, platform: str, counts: list[int]) -> list[Job]:
    """Return the jobs for the options on these numbers of devices."""
    sweep = routine.sweeps[platform]
    words = routine.rhs and (options.nrhs or routine.rhs)
    jobs = []
    for count in counts:
        if options.sizes or options.dtypes or options.quick:
            orders = options.sizes or (QUICK_SIZES[platform] if options.quick else sweep.sizes)
            if routine.tall and (options.quick or len(options.routine) > 1):
                orders = sweep.sizes[: 1 if options.quick else None]
            systems = [(n, dtype) for n in orders for dtype in options.dtypes or ("float64",)]
        elif count == counts[0]:
            systems = [(n, "float64") for n in sweep.sizes]
            systems += [(sweep.other, dtype) for dtype in OTHER_DTYPES]
        else:
            systems = [(n, "float64") for n in sweep.single]
        for n, dtype in systems:
            numbers = [rhs_count(word, n) for word in words] or [0]
            jobs += [Job(n, dtype, nrhs, count) for nrhs in numbers]
    return jobs
