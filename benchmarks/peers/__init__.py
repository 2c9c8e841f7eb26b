"""The measured solvers. A new solver is a class with their methods, and a line in `all_solvers`."""

from processes import JaxTeam, JaxWorker

from peers.cuda_programs import CudaProgram
from peers.jax_solvers import JaxMg, JaxSolver, Vendor
from peers.stages import Stages

_BY_QR = ["geqrf", "orgqr", "gels", "gels_tall"]  # orgqr and gels_tall: by none of the programs
_BY_SVD = ["gesvd", "svdvals", "polar"]  # measured by none of the programs


def all_solvers(machine: dict, worker: JaxWorker, tile: int | None) -> list:
    """Return the solvers, in the order in which they are measured; `worker` is jaxmg's.

    Each has a `name`, and for a routine `named(routine)`, its name in the table, and
    `available(routine)`, the reason why it cannot run here, or None; `job_for(job)`, the job
    adapted to this solver, or None; `run(trial, seconds)`, which returns a Record or raises Failed;
    and `stop()`. For the schedule: `slowness`, its expected time in units of the planner's;
    `overhead`, the seconds of a trial besides its calls; `rounds`, how often it repeats all calls;
    `by_planner`, whether its memory is the planner's; `share`, its part of the time of the run.
    """
    platform, devices = machine["platform"], machine["devices"]
    ours = [JaxMg("jaxmg", worker, tile, share=4)]
    if devices > 1:
        team = JaxTeam(platform, devices)
        ours.append(JaxMg(f"jaxmg with {devices} processes", team, tile, devices))
    if platform != "gpu":
        return [*ours, Stages(platform), JaxSolver(platform)]
    vendors = [Vendor(name, platform, devices, tile) for name in ("cusolvermp", "cusolvermg")]
    programs = [
        CudaProgram(
            "cuSOLVERMp",
            ["cusolverMp", "nccl"],
            lacks=["potri", "orgqr", "gels_tall", *_BY_SVD],
            rounds=2,
        ),
        CudaProgram("cuSOLVERMg", ["cusolverMg"], lacks=[*_BY_QR, *_BY_SVD], rounds=2),
        CudaProgram("cuSOLVERDn", ["cusolver"], most_devices=1, lacks=[*_BY_QR[1:], *_BY_SVD]),
    ]
    return [*ours, *vendors, Stages(platform), *programs, JaxSolver(platform)]
