"""The measured solvers. A new solver is a class with their methods, and a line in `all_solvers`."""

from routines import Routine

from peers.cuda_programs import CudaProgram
from peers.jax_solvers import JaxMg, JaxSolver
from peers.stages import Stages


def all_solvers(machine: dict, routine: Routine, tile: int | None) -> list:
    """Return the solvers, in the order in which they are measured.

    Each has a `name`; `available()`, the reason why it cannot run here, or None; `job_for(job)`,
    the job adapted to this solver, or None; `run(job, seconds)`, which returns a Record or raises
    Failed; and `stop()`.
    """
    vendors = ("cusolvermp", "cusolvermg") if machine["platform"] == "gpu" else ()
    svd = ["gesvd", "svdvals", "polar"]  # not measured by the programs in C++
    return [
        JaxMg(machine, routine, tile),
        *(JaxMg(machine, routine, tile, backend) for backend in vendors),
        *([Stages(machine, routine)] if routine.stages else []),
        CudaProgram(machine, routine, "cuSOLVERMp", ["cusolverMp", "nccl"], lacks=["potri", *svd]),
        CudaProgram(machine, routine, "cuSOLVERMg", ["cusolverMg"], lacks=svd),
        CudaProgram(machine, routine, "cuSOLVERDn", ["cusolver"], most_devices=1, lacks=svd),
        JaxSolver(machine, routine),
    ]
