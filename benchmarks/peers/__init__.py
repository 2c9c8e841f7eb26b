"""The measured solvers. A new solver is a class with their methods, and a line in `all_solvers`."""

from jaxmg._tools.bench.routines import Routine

from peers.cuda_programs import CudaProgram
from peers.jax_solvers import JaxMg, JaxSolver
from peers.stages import Stages

_BY_QR = ["geqrf", "orgqr", "gels", "gels_tall"]  # orgqr and gels_tall: by none of the programs
_BY_SVD = ["gesvd", "svdvals", "polar"]  # measured by none of the programs


def all_solvers(machine: dict, routine: Routine, tile: int | None) -> list:
    """Return the solvers, in the order in which they are measured.

    Each has a `name`; `available()`, the reason why it cannot run here, or None; `job_for(job)`,
    the job adapted to this solver, or None; `run(job, seconds)`, which returns a Record or raises
    Failed; and `stop()`.
    """
    vendors = ("cusolvermp", "cusolvermg") if machine["platform"] == "gpu" else ()
    return [
        JaxMg(machine, routine, tile),
        *(JaxMg(machine, routine, tile, backend) for backend in vendors),
        *([Stages(machine, routine)] if routine.stages else []),
        CudaProgram(
            machine,
            routine,
            "cuSOLVERMp",
            ["cusolverMp", "nccl"],
            lacks=["potri", "orgqr", "gels_tall", *_BY_SVD],
        ),
        CudaProgram(machine, routine, "cuSOLVERMg", ["cusolverMg"], lacks=[*_BY_QR, *_BY_SVD]),
        CudaProgram(
            machine,
            routine,
            "cuSOLVERDn",
            ["cusolver"],
            most_devices=1,
            lacks=[*_BY_QR[1:], *_BY_SVD],
        ),
        JaxSolver(machine, routine),
    ]
