"""Measure a routine of jaxmg, and other solvers for the same problem, side by side.

    python benchmarks/run.py [--routine potri] [--quick] [--sizes 16384,32768] ...

Works on the GPUs it finds, or on virtual CPU devices. Every solver runs in a separate process with
a time limit; a failure is a row with its reason. This process never uses a device.
"""

import argparse
import datetime
import os
import re
import shlex
import sys
import time
from pathlib import Path

import hardware
from jaxmg._tools.bench.routines import ROUTINES
from jobs import EPS, ITEMSIZE, Record, plan_jobs
from peers import all_solvers
from processes import Failed, JaxWorker
from progress import say
from report import Report

OVERHEAD_ORDER = 1024


def main() -> int:
    options = parse_arguments()
    began = time.monotonic()

    def left() -> float:
        return options.time_limit - (time.monotonic() - began)

    surveyor = JaxWorker(options.platform, options.cpu_devices)
    try:
        machine = surveyor.ask("describe", min(120, options.time_limit))
    except Failed as failure:
        say(f"JAX does not start: {failure}", "red")
        return 1
    jobs = plan_jobs(options, options.routine, machine["platform"], machine["devices"])
    report = start_report(options, machine)
    say(f"{hardware.describe(machine)}, JAX {machine['jax']}, jaxmg {machine['jaxmg']}", "bold")
    say(f"Results go to {report.path}.{{md,json,png}}")
    try:
        survey(surveyor, report, jobs, machine, options, left)
        surveyor.stop()
        for solver in all_solvers(machine, options.routine, options.tile):
            if options.only and solver.name not in options.only:
                continue
            why = solver.available()
            if why is not None:
                report.absent[solver.name] = why
                say(f"{solver.name}: {why}", "yellow")
            else:
                measure(solver, report, jobs, options, left)
            report.save()
            report.plot()
    finally:
        surveyor.stop()
        report.save()
        if (why := report.plot()) is not None:
            say(f"No plot: {why}", "yellow")
    say(f"Written: {report.path}.md after {time.monotonic() - began:.0f} s", "bold")
    return 0


def survey(surveyor, report, jobs, machine, options, left):
    """Measure the baselines of the solvers: GEMM, and the overhead of a call."""
    single = {(job.dtype, 1) for job in jobs}
    for dtype, devices in sorted(single | {(job.dtype, job.devices) for job in jobs}):
        try:
            rate = surveyor.ask("gemm", limit(options, left), dtype=dtype, devices=devices)
        except Failed as failure:
            report.absent[f"GEMM {dtype} on {devices}"] = str(failure)
            say(f"GEMM {dtype} on {devices}: {failure}", "red")
            continue
        report.add_gemm(dtype, devices, rate)
        say(f"GEMM {dtype} on {devices}: {report.rate(rate['flops_per_second'])} {report.unit}")
    devices, n = machine["devices"], OVERHEAD_ORDER
    try:
        seconds = surveyor.ask("overhead", limit(options, left), devices=devices, n=n)
    except Failed as failure:
        report.absent["overhead"] = str(failure)
        say(f"overhead: {failure}", "red")
    else:
        report.overhead = {"n": n, "devices": devices, "seconds": seconds}
        dealing, solve = 1e3 * seconds["dealing"], 1e3 * seconds["solve"]
        say(f"At N={n}: roll call and redistribution {dealing:.2f} ms, a solve {solve:.2f} ms")
    report.save()


def measure(solver, report, jobs, options, left):
    """Run a solver's jobs, each of them once."""
    own_jobs = dict.fromkeys(filter(None, map(solver.job_for, jobs)))
    for job in own_jobs:
        if left() <= 0:
            report.absent.setdefault("time limit", f"reached before {solver.name}, {job}")
            say("The time limit is reached", "yellow")
            break
        try:
            record = solver.run(job, limit(options, left))
            check(record)
        except Failed as failure:
            record = Record(solver.name, job, reason=str(failure))
        report.add(record)
        if record.seconds is None:
            say(f"{solver.name}, {job}: {record.reason}", "red")
            continue
        fraction = report.fraction(record)
        share = f", {100 * fraction:.0f} % of GEMM" if fraction is not None else ""
        rate = f"{report.rate(report.flops_per_second(record))} {report.unit}"
        say(f"{solver.name}, {job}: {record.seconds:.4f} s, {rate}{share}")
    solver.stop()


def check(record: Record):
    """Raise Failed if a result is wrong: it must not have a time."""
    bound = record.job.n * EPS[record.job.dtype]
    found = {"residual": record.residual}
    if "orthogonality" in record.details:
        found["error of orthogonality"] = record.orthogonality
    for name, value in found.items():
        if value is None or not value < bound:  # NaN is wrong, too
            raise Failed(f"wrong result: the {name} is {value}, more than N eps = {bound:.1e}")


def limit(options, left) -> float:
    """Return the time limit of the next job, which may end shortly after the limit of the run."""
    return max(15.0, min(options.job_limit, left()))


def start_report(options, machine) -> Report:
    now = datetime.datetime.now().astimezone()
    routine = options.routine
    what = options.what or routine.name + ("-quick" if options.quick else "")
    head = {
        "platform": machine["platform"],
        "title": routine.title,
        "date": now.isoformat(" ", "seconds"),
        "hardware": hardware.describe(machine),
        "driver": hardware.driver(machine),
        "load": f"{os.getloadavg()[0]:.1f} at the start",
        "jax": machine["jax"],
        "jaxmg": machine["jaxmg"],
        "command": shlex.join(["python", "benchmarks/run.py", *arguments_that_matter()]),
    }
    name = f"{now.date()}_{hardware.short_name(machine)}_{what}"
    return Report(options.output, name, head, routine, options.nrhs)


def arguments_that_matter() -> list[str]:
    """Return the command line without the folder of the results."""
    arguments = list(sys.argv[1:])
    if "--output" in arguments:
        at = arguments.index("--output")
        del arguments[at : at + 2]
    return arguments


def parse_arguments():
    def orders(text):
        return tuple(int(word) for word in text.split(","))

    def rhs(text):
        words = tuple(text.split(","))
        wrong = [word for word in words if not re.fullmatch(r"(N/)?[1-9]\d*", word)]
        if wrong:
            raise argparse.ArgumentTypeError(f"{wrong[0]!r} is neither a number nor like N/16")
        return words

    def dtypes(text):
        words = tuple(text.split(","))
        unknown = [word for word in words if word not in ITEMSIZE]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown dtype {unknown[0]}; one of {[*ITEMSIZE]}")
        return words

    parser = argparse.ArgumentParser(
        description="Measure a routine of jaxmg beside other solvers.",
        epilog="Lists are separated by commas.",
    )
    add = parser.add_argument
    add("--routine", choices=ROUTINES, default="potrs", help="what to measure (default: potrs)")
    add("--sizes", type=orders, help="orders N (default: a float64 sweep, one of other types)")
    add("--dtypes", type=dtypes, help="float32, float64, complex64, complex128")
    add("--nrhs", type=rhs, help="numbers of right-hand sides, also as N/16")
    add("--devices", default="all,1", help="numbers of devices for jaxmg, or 'all'")
    add("--tile", type=int, help="tile size for jaxmg (default: the planner's)")
    add("--only", type=lambda text: text.split(","), help="names of the solvers to measure")
    add("--quick", action="store_true", help="small matrices, to check that everything runs")
    add("--time-limit", type=float, default=280, help="seconds after which no job is started")
    add("--job-limit", type=float, default=120, help="seconds for each job")
    add("--platform", choices=("auto", "cpu"), default="auto", help="cpu: do not use GPUs")
    add("--cpu-devices", type=int, default=4, help="virtual devices without a GPU")
    add("--what", help="last part of the files' name")
    results = Path(__file__).resolve().parent / "results"
    add("--output", type=Path, default=results, help="folder of the results")
    options = parser.parse_args()
    options.routine = ROUTINES[options.routine]
    if options.nrhs and not options.routine.rhs:
        parser.error(f"{options.routine.name} has no right-hand sides")
    options.nrhs = options.nrhs or options.routine.rhs
    return options


if __name__ == "__main__":
    sys.exit(main())
