"""Command line of the package: ``python -m jaxmg`` with doctor, plan, bench or show-layout."""

import argparse
import sys
from pathlib import Path

from jaxmg._planning.backends import STEPS
from jaxmg._supported import DTYPES
from jaxmg._tools import doctor, layout
from jaxmg._tools.bench import command as bench
from jaxmg._tools.bench.routines import ROUTINES
from jaxmg._tools.usage import UsageError, devices
from jaxmg.plan import plan

_STATUS = "exit status: 0, success; 1, {failure}; 2, an argument cannot be used"
_DTYPES = tuple(str(dtype) for dtype in DTYPES)


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m jaxmg",
        description="Tools of jaxmg. `python -m jaxmg COMMAND --help` has examples.",
    )
    commands = parser.add_subparsers(metavar="COMMAND")
    _add_doctor(commands)
    _add_plan(commands)
    _add_bench(commands)
    _add_layout(commands)
    options = parser.parse_args(arguments)
    if not hasattr(options, "run"):
        parser.print_help()
        return 0
    try:
        return options.run(options)
    except UsageError as error:
        print(f"python -m jaxmg: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _command(commands, name: str, summary: str, description: str, *examples: str, failure: str):
    """Add a command with its examples and exit status to the help."""
    lines = ["examples:", *(f"  python -m jaxmg {name} {example}".rstrip() for example in examples)]
    return commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog="\n".join([*lines, "", _STATUS.format(failure=failure)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_doctor(commands) -> None:
    command = _command(
        commands,
        "doctor",
        "check this machine and the installation, and solve small systems",
        "Check this machine and the installation, and solve small systems on it.",
        "",
        "--json > report.json",
        failure="a problem was found",
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


def _add_plan(commands) -> None:
    command = _command(
        commands,
        "plan",
        "estimate memory and time of a call, as jaxmg.plan does",
        "Estimate memory and time of a call before it is made, as jaxmg.plan does.",
        "potrs 65536 --devices 4 --platform gpu",
        "syevd 32768 --devices 8 --vectors 100",
        "gels 4096 --rows 65536 --nrhs 16 --dtype complex64",
        failure="not used",
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
            platform=options.platform or devices()[0].platform,
            refine=options.refine,
        )
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(str(error)) from None
    print(planned)
    return 0


def _add_bench(commands) -> None:
    command = _command(
        commands,
        "bench",
        "measure a routine, and the other solvers found on this machine",
        "Measure a routine of jaxmg on this machine, beside NVIDIA's libraries where they are\n"
        "installed, JAX's function on one device, and the rate of GEMM. Results are checked.",
        "",
        "syevd --sizes 1024,2048 --dtype complex128",
        "gesv --platform cpu --devices 2 --png gesv.png",
        failure="jaxmg failed or gave a wrong result",
    )
    command.add_argument(
        "routine",
        nargs="?",
        default="potrs",
        choices=ROUTINES,
        metavar="ROUTINE",
        help=f"one of {', '.join(ROUTINES)} (default: %(default)s)",
    )
    command.add_argument(
        "--sizes", type=_orders, metavar="N,...", help="orders of the matrix (default: by platform)"
    )
    command.add_argument("--dtype", choices=_DTYPES, default="float64", help="default: %(default)s")
    command.add_argument(
        "--devices", type=_count, help="all that JAX finds; without a GPU, 4 virtual devices"
    )
    command.add_argument("--platform", choices=("auto", "cpu"), default="auto", help="cpu: no GPU")
    command.add_argument(
        "--time-limit",
        type=_seconds,
        default=300,
        metavar="SECONDS",
        help="no measurement begins later (default: %(default)s)",
    )
    _add_png(command, "jaxmg-bench.png", "draw the rates, and GEMM's, into FILE")
    command.set_defaults(run=bench.run)


def _add_layout(commands) -> None:
    command = _command(
        commands,
        "show-layout",
        "show which device holds which columns",
        "Show which device holds which columns of a matrix, before and after its tile columns are\n"
        "dealt to the devices round-robin. (Columns of the native code are rows in JAX.)",
        "4096 --devices 4 --platform gpu",
        "1000 --devices 3 --tile 64 --png layout.png",
        failure="not used",
    )
    command.add_argument("n", type=_count, help="order of the matrix")
    command.add_argument("--devices", type=_count, default=4, help="default: %(default)s")
    command.add_argument("--routine", default="potrs", help="plans the tile (default: %(default)s)")
    command.add_argument("--dtype", choices=_DTYPES, default="float64", help="default: %(default)s")
    command.add_argument("--tile", type=_count, help="columns of a tile (default: the planner's)")
    command.add_argument("--platform", choices=("cpu", "gpu"), help="default: JAX's own")
    _add_png(command, "jaxmg-layout.png", "draw it into FILE")
    command.set_defaults(run=layout.run)


def _add_png(command, default: str, what: str) -> None:
    command.add_argument(
        "--png",
        type=Path,
        nargs="?",
        const=Path(default),
        metavar="FILE",
        help=f"{what} (default: %(const)s)",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, got {text}")
    return seconds


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1, got {text}")
    return count


def _orders(text: str) -> tuple[int, ...]:
    return tuple(_count(word) for word in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
