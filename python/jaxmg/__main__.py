"""Command line of the package: ``python -m jaxmg doctor`` and ``python -m jaxmg plan``."""

import argparse
import sys

from jaxmg._planning.backends import STEPS
from jaxmg._tools import doctor
from jaxmg.plan import plan


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m jaxmg", description="Tools of jaxmg.")
    commands = parser.add_subparsers(metavar="COMMAND")
    _add_doctor(commands)
    _add_plan(commands)
    options = parser.parse_args(arguments)
    if not hasattr(options, "run"):
        parser.print_help()
        return 0
    return options.run(options)


def _add_doctor(commands) -> None:
    command = commands.add_parser(
        "doctor",
        help="check this machine and the installation, and solve small systems",
        description="Check this machine and the installation, and solve small systems on it. The "
        "exit status is 1 if a problem was found, 0 otherwise.",
    )
    command.add_argument("--json", action="store_true", help="print the findings as JSON")
    command.add_argument(
        "--time-limit",
        type=_seconds,
        default=120,
        metavar="SECONDS",
        help="time limit of each check (default: %(default)s)",
    )
    command.set_defaults(run=lambda o: doctor.run(limit=o.time_limit, as_json=o.json))


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, got {text}")
    return seconds


def _add_plan(commands) -> None:
    command = commands.add_parser(
        "plan",
        help="estimate memory and time of a call, as jaxmg.plan does",
        description="Estimate memory and time of a call before it is made, as jaxmg.plan does.",
    )
    command.add_argument("routine", help=f"one of {', '.join(STEPS)}")
    command.add_argument("n", type=int, help="order of the matrix, or number of its columns")
    command.add_argument("--rows", type=int, help="rows, for geqrf, orgqr and gels (n)")
    command.add_argument("--dtype", default="float64", help="default: %(default)s")
    command.add_argument("--devices", type=int, default=1, help="default: %(default)s")
    command.add_argument("--hosts", type=int, default=1, help="default: %(default)s")
    command.add_argument("--platform", choices=("cpu", "gpu"), help="default: JAX's own")
    command.add_argument("--nrhs", type=int, default=1, help="right-hand sides (%(default)s)")
    command.add_argument(
        "--vectors", type=int, help="eigenvectors, for syevd, or singular vectors, for gesvd (all)"
    )
    command.add_argument("--refine", help="precision of the factor, for potrs and gesv (off)")
    command.set_defaults(run=_plan)


def _plan(options) -> int:
    try:
        planned = plan(
            options.routine,
            (options.n if options.rows is None else options.rows, options.n),
            options.dtype,
            options.devices,
            nrhs=options.nrhs,
            vectors=options.vectors,
            hosts=options.hosts,
            platform=options.platform,
            refine=options.refine,
        )
    except (TypeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(planned)
    return 0


if __name__ == "__main__":
    sys.exit(main())
