"""NVIDIA's solvers, in small C++ programs.

They are compiled at their first measurement, unless the folder JAXMG_BENCH_PROGRAMS has them.
"""

import functools
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from jaxmg._tools.bench.routines import Routine
from jobs import Job, Record
from processes import Failed, run_program
from schedule import Trial

_HERE = Path(__file__).parent


class CudaProgram:
    """A program of this folder: takes a routine and a job, prints a line of JSON per tile size."""

    slowness = 2.0
    share = 2
    by_planner = False

    def __init__(self, name: str, libraries, most_devices=None, lacks=(), rounds=1):
        """`rounds`: how many tile sizes the program measures."""
        self.name = name
        self.rounds = rounds
        self.overhead = 2.0 if most_devices == 1 else 5.0
        self._lacks = lacks
        self._program = name.lower()
        self._libraries = ["cudart", *libraries]
        self._most_devices = most_devices

    def named(self, routine: Routine) -> str:
        return self.name

    def available(self, routine: Routine) -> str | None:
        if routine.name in self._lacks:
            return f"has no {routine.name}"
        if _built(self._program) is not None:
            return None
        if shutil.which(_compiler()) is None:
            return f"no C++ compiler {_compiler()}"
        for header in ["cuda_runtime.h", *self._headers()]:
            if _find("include", header) is None:
                return f"not installed: {header} is in none of {_roots_text()}"
        for library in self._libraries:
            if _library(library) is None:
                return f"not installed: lib{library}.so is in none of {_roots_text()}"
        return None

    def job_for(self, job: Job) -> Job | None:
        if self._most_devices is not None:
            return replace(job, devices=min(job.devices, self._most_devices))
        # On one device, a one-device library is the better comparison.
        return job if job.devices > 1 else None

    def run(self, trial: Trial, seconds: float) -> Record:
        job = trial.job
        program = _built(self._program) or _build(self._program, tuple(self._libraries))
        command = [program, trial.routine.name, job.n, job.dtype, job.nrhs, job.devices]
        command.append(trial.samples)
        output = run_program([str(word) for word in command], seconds, loader_path())
        outcomes = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        first = min(trial.samples, 1)  # the first call counts if it is the only one

        def rank(found):
            right = found["residual"] is not None and found["residual"] < job.bound
            return not right, statistics.median(seconds_of_calls(found)[first:])

        best = min(outcomes, key=rank)
        steps = {name: samples[first:] for name, samples in best["steps"].items()}
        samples = seconds_of_calls(best)[first:]
        note = f"tile {best['tile']}" + (f", grid {best['grid']}" if "grid" in best else "")
        if len(steps) > 1:
            medians = [f"{name} {statistics.median(steps[name]):.4f}" for name in steps]
            note = f"{' + '.join(medians)} s, {note}"
        kept = {name: best[name] for name in ("orthogonality", "tile", "library") if name in best}
        return Record(
            self.name,
            job,
            statistics.median(samples),
            samples,
            first_call=seconds_of_calls(outcomes[0])[0],
            residual=best["residual"],
            note=note,
            details=steps | kept,
        )

    def stop(self):
        pass

    def _headers(self) -> list[str]:
        return [f"{name}.h" for name in self._libraries if name not in ("cudart", "cusolver")]


def seconds_of_calls(outcome: dict) -> list[float]:
    """Return the total seconds of all steps of a program for each call, in order."""
    return [sum(steps) for steps in zip(*outcome["steps"].values(), strict=True)]


def _built(program: str) -> Path | None:
    """Return a program that was compiled before."""
    folder = os.environ.get("JAXMG_BENCH_PROGRAMS")
    path = Path(folder or "", program)
    return path.absolute() if folder and path.is_file() else None


@functools.cache
def _build(program: str, libraries: tuple[str, ...]) -> Path:
    """Compile a program into a temporary folder, which is not removed, and return its path."""
    target = Path(tempfile.mkdtemp(prefix="jaxmg-bench-")) / program
    includes = [root / "include" for root in _roots() if (root / "include").is_dir()]
    files = [str(_library(name)) for name in libraries]
    folders = {str(Path(file).parent) for file in files}
    command = [_compiler(), "-std=c++20", "-O2", "-w", str(_HERE / f"{program}.cc"), "-o", target]
    command += [f"-I{folder}" for folder in includes]
    command += [*files, *(f"-Wl,-rpath,{folder}" for folder in sorted(folders))]
    command += ["-Wl,--allow-shlib-undefined", "-pthread"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if "error" in line]
        raise Failed(f"compiling {program}.cc failed: {' '.join(errors[:1]) or done.stderr[-200:]}")
    return target


def _compiler() -> str:
    return os.environ.get("CXX", "g++")


@functools.cache
def _roots() -> list[Path]:
    """Return possible locations of CUDA: NVIDIA's wheels (new and old layout), toolkits."""
    roots = []
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations if spec else ():
        roots += sorted(path.parent for path in Path(folder).glob("*/include"))
        roots += sorted(path.parent for path in Path(folder).glob("*/lib"))
    toolkits = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    roots += [Path(toolkit) for toolkit in toolkits if toolkit]
    roots += [Path("/usr")]
    return list(dict.fromkeys(root for root in roots if root.is_dir()))


def _roots_text() -> str:
    return "NVIDIA's wheels, CUDA_HOME, /usr/local/cuda and /usr"


def _find(folder: str, pattern: str) -> Path | None:
    for root in _roots():
        found = sorted(root.glob(f"{folder}/{pattern}"))
        if found:
            return found[-1]
    return None


def _library(name: str) -> Path | None:
    """Return lib<name>.so.<major>; wheels have no plain .so."""
    for folder in ("lib", "lib64", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu"):
        found = _find(folder, f"lib{name}.so*")
        if found is not None:
            return found
    return None


def loader_path() -> dict:
    folders = [root / lib for root in _roots() for lib in ("lib", "lib64") if root != Path("/usr")]
    folders = [str(folder) for folder in folders if folder.is_dir()]
    earlier = os.environ.get("LD_LIBRARY_PATH")
    return {"LD_LIBRARY_PATH": ":".join([*folders, *([earlier] if earlier else [])])}
