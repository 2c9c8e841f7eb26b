"""The solvers that are measured. A new one is a class like these, and a line in `all_solvers`."""

from peers.cuda_programs import CudaProgram
from peers.jax_solvers import ChoSolve, JaxMg


def all_solvers(machine: dict, tile: int | None) -> list:
    """Return the solvers, in the order in which they are measured.

    Each has a `name`; `available()`, why it cannot run here, or None; `job_for(job)`, the job as
    this solver would do it, or None; `run(job, seconds)`, which returns a Record or raises Failed;
    and `stop()`.
    """
    return [
        JaxMg(machine, tile),
        CudaProgram(machine, "cuSOLVERMp", "cusolvermp", ["cusolverMp", "nccl"]),
        CudaProgram(machine, "cuSOLVERMg", "cusolvermg", ["cusolverMg"]),
        CudaProgram(machine, "cuSOLVERDn", "cusolverdn", ["cusolver"], most_devices=1),
        ChoSolve(machine),
    ]
