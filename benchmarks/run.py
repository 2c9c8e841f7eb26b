"""Measure routines of jaxmg, and other solvers for the same problems, side by side.

    python benchmarks/run.py [--routine potri] [--quick] [--sizes 16384,32768] ...
    python benchmarks/run.py --routine all --devices all,1,2 --time-limit 280

Works on the GPUs it finds, or on virtual CPU devices. Every solver runs in separate processes with
a time limit; a failure is a row with its reason. This process never uses a device.
"""

import argparse
import datetime
import os
import re
import shlex
import signal
import sys
import time
from pathlib import Path

import estimates
import hardware
from jaxmg._tools.bench.routines import ROUTINES
from jobs import ITEMSIZE, Record, plan_jobs
from peers import all_solvers
from processes import Failed, JaxWorker
from progress import say
from report import Report
from schedule import Schedule

OVERHEAD_ORDER = 1024


def main() -> int:
    options = parse_arguments()
    if options.summary:
        print(estimates.table(estimates.rows(options.output)))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    began = time.monotonic()

    def left() -> float:
        return options.time_limit - (time.monotonic() - began)

    worker = JaxWorker(options.platform, options.cpu_devices)
    try:
        machine = worker.ask("describe", min(120, options.time_limit))
    except Failed as failure:
        say(f"JAX does not start: {failure}", "red")
        return 1
    say(f"{hardware.describe(machine)}, JAX {machine['jax']}, jaxmg {machine['jaxmg']}", "bold")
    reports = {routine.name: start_report(options, machine, routine) for routine in options.routine}
    tasks = plan_tasks(options, machine)
    for report in reports.values():
        say(f"Results go to {report.path}.{{md,json,png}}")
    try:
        survey(worker, reports, tasks, machine, options, left)
        solvers = [
            solver
            for solver in all_solvers(machine, worker, options.tile)
            if not options.only or any(asked(options, solver, r) for r in options.routine)
        ]
        for at, solver in enumerate(solvers):
            shares = sum(other.share for other in solvers[at:])
            end = time.monotonic() + left() * solver.share / shares
            measure(
                solver, reports, tasks, machine, options, lambda end=end: end - time.monotonic()
            )
    finally:
        worker.stop()
        for report in reports.values():
            report.save()
            if options.plots and (why := report.plot()) is not None:
                say(f"{report.path.name}: no plot, {why}", "yellow")
    say(f"Finished after {time.monotonic() - began:.0f} s", "bold")
    return 0


def asked(options, solver, routine) -> bool:
    return not options.only or bool({solver.name, solver.named(routine)} & set(options.only))


def plan_tasks(options, machine) -> dict:
    """Return the value of each pair of a routine and a job.

    It grows with the root of N, and is a quarter for other types than float64, and for each further
    number of devices.
    """
    counts = [machine["devices"] if c == "all" else int(c) for c in options.devices.split(",")]
    counts = list(dict.fromkeys(min(count, machine["devices"]) for count in counts))
    tasks = {}
    for routine in options.routine:
        for job in plan_jobs(options, routine, machine["platform"], counts):
            rank = counts.index(job.devices) + (job.dtype != "float64")
            tasks[routine, job] = job.n**0.5 / 4**rank
    return tasks


def survey(worker, reports, tasks, machine, options, left):
    """Measure the baselines of the solvers: GEMM, and the overhead of a call."""
    gemm = {key: rate for report in reports.values() for key, rate in report.gemm.items()}
    overhead = next((report.overhead for report in reports.values() if report.overhead), None)
    absent = {}
    a_report = next(iter(reports.values()))
    wanted = {(job.dtype, devices) for _, job in tasks for devices in (1, job.devices)}
    for dtype, devices in sorted(wanted - set(gemm)):
        try:
            rate = worker.ask("gemm", limit(options, left), dtype=dtype, devices=devices)
        except Failed as failure:
            absent[f"GEMM {dtype} on {devices}"] = str(failure)
            say(f"GEMM {dtype} on {devices}: {failure}", "red")
        else:
            gemm[dtype, devices] = rate
            per_second = a_report.rate(rate["flops_per_second"])
            say(f"GEMM {dtype} on {devices}: {per_second} {a_report.unit}")
    if overhead is None:
        how = {"devices": machine["devices"], "n": OVERHEAD_ORDER}
        try:
            seconds = worker.ask("overhead", limit(options, left), **how)
        except Failed as failure:
            absent["overhead"] = str(failure)
            say(f"overhead: {failure}", "red")
        else:
            overhead = how | {"seconds": seconds}
            dealing, solve = 1e3 * seconds["dealing"], 1e3 * seconds["solve"]
            say(f"Roll call and redistribution {dealing:.2f} ms, a small solve {solve:.2f} ms")
    for report in reports.values():
        report.gemm.update(gemm)
        report.overhead = overhead or {}
        report.absent |= absent
        report.save()


def measure(solver, reports, tasks, machine, options, left):
    """Run a solver's jobs, as many as it has time for."""
    own, reasons = {}, {}
    for routine in options.routine:
        if asked(options, solver, routine) and (why := solver.available(routine)) is not None:
            reports[routine.name].absent[solver.named(routine)] = why
            reasons.setdefault(why, []).append(routine.name)
    for why, routines in reasons.items():
        say(f"{solver.name}: {why} ({', '.join(routines)})", "yellow")
    for (routine, job), value in tasks.items():
        job = solver.job_for(job)
        if job is None or not asked(options, solver, routine) or solver.available(routine):
            continue
        if not reports[routine.name].has(solver.named(routine), job):
            own[routine, job] = max(value, own.get((routine, job), 0.0))
    memory = machine["memory"] if solver.by_planner else None
    schedule = Schedule(solver, own, machine["platform"], memory)
    for routine, job, why in schedule.too_large:
        reports[routine.name].absent[f"{solver.named(routine)}, {job}"] = why
    try:
        while (trial := schedule.next(left())) is not None:
            run(solver, trial, schedule, reports[trial.routine.name], options, left)
    finally:
        solver.stop()
        for routine, job in schedule.remaining:
            reports[routine.name].absent[f"{solver.named(routine)}, {job}"] = "no time"
        for report in reports.values():
            report.save()


def run(solver, trial, schedule, report, options, left):
    """Measure one job, and add its row."""
    job, name = trial.job, solver.named(trial.routine)
    began = time.monotonic()
    try:
        record = solver.run(trial, limit(options, left))
        wall = time.monotonic() - began
        schedule.learn(trial, wall, record.seconds)
        check(record)
    except Failed as failure:
        wall = time.monotonic() - began
        record = Record(name, job, reason=str(failure))
        schedule.learn(trial, wall, None)
    report.add(record)
    what = f"{name}, {trial.routine.name} {job}"
    if record.seconds is None:
        say(f"{what}: {record.reason} ({wall:.1f} s)", "red")
        return
    fraction = report.fraction(record)
    share = f", {100 * fraction:.0f} % of GEMM" if fraction is not None else ""
    rate = f"{report.rate(report.flops_per_second(record))} {report.unit}"
    say(f"{what}: {record.seconds:.4f} s, {rate}{share} ({wall:.1f} s)")


def check(record: Record):
    """Raise Failed if a result is wrong: it must not have a time."""
    bound = record.job.bound
    found = {"residual": record.residual}
    if "orthogonality" in record.details:
        found["error of orthogonality"] = record.orthogonality
    for name, value in found.items():
        if value is None or not value < bound:  # NaN is wrong, too
            raise Failed(f"wrong result: the {name} is {value}, more than N eps = {bound:.1e}")


def limit(options, left) -> float:
    """Return the time limit of the next job, which may end shortly after the limit of the run."""
    return max(15.0, min(options.job_limit, left()))


def start_report(options, machine, routine) -> Report:
    now = datetime.datetime.now().astimezone()
    what = routine.name + ("-quick" if options.quick else "")
    if options.what:
        what = options.what if len(options.routine) == 1 else f"{routine.name}-{options.what}"
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
    rhs = options.nrhs if options.nrhs and routine.rhs else routine.rhs
    report = Report(options.output, name, head, routine, rhs)
    if options.resume:
        report.load()
    return report


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

    def routines(text):
        words = [*ROUTINES] if text == "all" else text.split(",")
        unknown = [word for word in words if word not in ROUTINES]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown {unknown[0]}; one of all, {[*ROUTINES]}")
        return [ROUTINES[word] for word in words]

    parser = argparse.ArgumentParser(
        description="Measure routines of jaxmg beside other solvers.",
        epilog="Lists are separated by commas.",
    )
    add = parser.add_argument
    add("--routine", type=routines, default="potrs", help="what to measure, or 'all' (potrs)")
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
    add("--resume", action="store_true", help="add what is missing to the reports of this name")
    add("--no-plots", dest="plots", action="store_false", help="write tables and samples only")
    add("--summary", action="store_true", help="print the planner's times beside all results")
    options = parser.parse_args()
    if options.nrhs and not any(routine.rhs for routine in options.routine):
        parser.error(f"{options.routine[0].name} has no right-hand sides")
    return options


if __name__ == "__main__":
    sys.exit(main())
