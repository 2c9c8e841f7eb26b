"""What is measured: one job is one system of equations, for one solver on some of the devices."""

from dataclasses import asdict, dataclass, field

# Orders of the float64 sweep, and the one order of the other types.
SIZES = {"gpu": (1024, 4096, 16384, 32768, 65536), "cpu": (512, 1024, 2048, 4096)}
QUICK_SIZES = {"gpu": (1024, 4096), "cpu": (256, 512)}
OTHER_SIZE = {"gpu": 32768, "cpu": 2048}
OTHER_DTYPES = ("float32", "complex128")
# Orders on one device, where the sweep is on several.
SINGLE_SIZES = {"gpu": (16384, 32768), "cpu": (1024, 4096)}

ITEMSIZE = {"float32": 4, "float64": 8, "complex64": 8, "complex128": 16}

EPS = {"float32": 2**-23, "float64": 2**-52, "complex64": 2**-23, "complex128": 2**-52}


@dataclass(frozen=True)
class Job:
    n: int
    dtype: str
    nrhs: int
    devices: int

    def __str__(self):
        rhs = f", {self.nrhs} right-hand sides" if self.nrhs > 1 else ""
        return f"N={self.n} {self.dtype}{rhs} on {self.devices}"

    @property
    def bytes(self) -> int:
        return self.n**2 * ITEMSIZE[self.dtype]

    @property
    def flops(self) -> float:
        """Operations of factorisation and solve, a complex multiply-add counting as eight."""
        count = self.n**3 / 3 + 2 * self.n**2 * self.nrhs
        return count * (4 if self.dtype.startswith("complex") else 1)


@dataclass
class Record:
    """What came out of one job; `reason` says why there is no time."""

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
    def flops_per_second(self) -> float | None:
        return self.job.flops / self.seconds if self.seconds else None

    def as_dict(self) -> dict:
        rate = self.flops_per_second
        return asdict(self) | {"gflops": rate and rate / 1e9}


def plan_jobs(options, platform: str, devices: int) -> list[Job]:
    """Return the jobs that the options ask for, the smallest matrices first.

    That order lets a peak of memory be told: it is that of the job if it has grown.
    """
    counts = [devices if count == "all" else int(count) for count in options.devices.split(",")]
    counts = sorted({min(count, devices) for count in counts}, reverse=True)
    jobs = set()
    for nrhs in options.nrhs:
        for count in counts:
            if options.sizes or options.dtypes or options.quick:
                sweep = (QUICK_SIZES if options.quick else SIZES)[platform]
                orders, dtypes = options.sizes or sweep, options.dtypes or ("float64",)
                systems = [(n, dtype) for n in orders for dtype in dtypes]
            elif count == counts[0]:
                systems = [(n, "float64") for n in SIZES[platform]]
                systems += [(OTHER_SIZE[platform], dtype) for dtype in OTHER_DTYPES]
            else:
                systems = [(n, "float64") for n in SINGLE_SIZES[platform]]
            jobs |= {Job(n, dtype, nrhs, count) for n, dtype in systems}
    return sorted(jobs, key=lambda job: (-job.devices, job.bytes, job.n, job.nrhs))
