"""Reports: the results as a table, as JSON and as plots, rewritten after every job."""

import json
import statistics
from dataclasses import asdict, fields
from pathlib import Path

from jaxmg._tools.bench.routines import Routine
from jobs import ITEMSIZE, Job, Record, rhs_count

_GIB = 2**30


def as_lines(report: dict) -> str:
    """Return a report as JSON, with one record a line."""

    def text(value):
        if isinstance(value, list) and value:
            return "[\n" + ",\n".join("  " + json.dumps(element) for element in value) + "\n ]"
        return json.dumps(value)

    fields = ",\n".join(f" {json.dumps(name)}: {text(value)}" for name, value in report.items())
    return "{\n" + fields + "\n}\n"


class Report:
    """The results of one run, and the files they are written to."""

    def __init__(self, folder: Path, name: str, head: dict, routine: Routine, rhs: tuple[str, ...]):
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / name
        self._head = head
        self._routine = routine
        self._rhs = rhs
        on_gpu = head["platform"] == "gpu"
        self.unit, self._scale = ("TFLOP/s", 1e12) if on_gpu else ("GFLOP/s", 1e9)
        self.gemm: dict[tuple[str, int], dict] = {}  # (dtype, devices) -> the measurement
        self._records: list[Record] = []
        self.overhead: dict = {}
        self.absent: dict[str, str] = {}  # solver -> why it was not measured

    def load(self):
        """Take over the times of an earlier run with this name."""
        path = self.path.with_suffix(".json")
        if not path.exists():
            return
        earlier = json.loads(path.read_text())
        for measured in earlier["gemm"]:
            self.gemm[measured.pop("dtype"), measured.pop("devices")] = measured
        self.overhead = earlier["overhead"]
        self.absent = {who: why for who, why in earlier["absent"].items() if why != "no time"}
        names = {field.name for field in fields(Record)}
        if self._head["command"] not in earlier["command"]:
            self._head["command"] = f"{earlier['command']} && {self._head['command']}"
        for record in earlier["records"]:
            if not record["seconds"]:
                continue
            kept = {name: value for name, value in record.items() if name in names}
            self._records.append(Record(**kept | {"job": Job(**record["job"])}))

    def has(self, system: str, job: Job) -> bool:
        """Return whether there is a row of this solver."""
        return any((record.system, record.job) == (system, job) for record in self._records)

    def add(self, record: Record):
        self._records.append(record)
        self.save()

    def rate(self, flops_per_second: float) -> str:
        """Return a rate in the unit of this report."""
        return f"{flops_per_second / self._scale:.3g}"

    def flops_per_second(self, record: Record) -> float | None:
        return self._routine.flops(record.job) / record.seconds if record.seconds else None

    def fraction(self, record: Record) -> float | None:
        """Return the rate of a job as a fraction of GEMM's on as many devices."""
        rate = self.flops_per_second(record)
        roofline = self.gemm.get((record.job.dtype, record.job.devices))
        if roofline is None or rate is None:
            return None
        return rate / roofline["flops_per_second"]

    def save(self):
        self.path.with_suffix(".json").write_text(as_lines(self._as_dict()))
        self.path.with_suffix(".md").write_text(self.markdown())

    def _as_dict(self) -> dict:
        return {
            **self._head,
            "gemm": [
                {"dtype": dtype, "devices": devices, **measured}
                for (dtype, devices), measured in self.gemm.items()
            ],
            "overhead": self.overhead,
            "absent": self.absent,
            "records": [self._record_as_dict(record) for record in self._records],
        }

    def _record_as_dict(self, record: Record) -> dict:
        rate = self.flops_per_second(record)
        return asdict(record) | {
            "gflops": rate and rate / 1e9,
            "gemm_fraction": self.fraction(record),
        }

    # ---- the table ------------------------------------------------------------------------------

    def _calls(self) -> list[Record]:
        """Return the records of whole calls."""
        return [record for record in self._records if "stages" not in record.details]

    def markdown(self) -> str:
        routine = self._routine
        lines = [f"# {self._head['title']}", ""]
        for key in ("date", "hardware", "driver", "load", "jax", "jaxmg", "command"):
            value = self._head[key]
            lines.append(f"- {key}: `{value}`" if key == "command" else f"- {key}: {value}")
        if libraries := self._libraries():
            lines.append(f"- libraries: {', '.join(libraries)}")
        lines += [
            "- Seconds are the median of warm calls, many short ones or few long ones, of "
            f"{routine.timed}. jaxmg and {routine.jax} are called from Python, in jit; "
            f"{routine.calls}",
            f"- The rate counts {routine.counts}, four times as many for complex types; "
            "«of GEMM» is its ratio to what as many devices reach together in a large GEMM of the "
            f"same type, in the same run. The residual is {routine.residual}.",
            f"- Bytes are per device, with the caller's {routine.given}.",
            "",
        ]
        lines += self._times() + self._stages() + self._rooflines() + self._overheads()
        if self.absent:
            lines += ["## Not measured", ""]
            lines += [f"- {solver}: {why}" for solver, why in self.absent.items()]
            lines.append("")
        return "\n".join(lines)

    def _libraries(self) -> list[str]:
        """Return NVIDIA's libraries that were measured, with their versions."""
        found = {record.details.get("library") for record in self._records}
        return sorted(found - {None})

    def _times(self) -> list[str]:
        calls = self._calls()
        has_vectors = any(record.orthogonality is not None for record in calls)
        columns = ["N", "dtype", *(["nrhs"] if self._rhs else []), "solver", "devices", "seconds"]
        columns += [self.unit, "of GEMM", "residual", *(["orthogonality"] if has_vectors else [])]
        columns += [
            "planned, s",
            "measured / planned",
            "first call, s",
            "peak GiB",
            "planned GiB",
            "note",
        ]
        lines = [_row(columns), _row(["---"] * len(columns))]
        for record in sorted(calls, key=self._table_order):
            job, fraction, rate = record.job, self.fraction(record), self.flops_per_second(record)
            cells = [job.n, job.dtype, *([job.nrhs] if self._rhs else [])]
            cells += [record.system, job.devices]
            cells += [
                _number(record.seconds, "{:.4f}"),
                self.rate(rate) if rate else "",
                _number(fraction and 100 * fraction, "{:.0f} %"),
                _number(record.residual, "{:.1e}"),
                *([_number(record.orthogonality, "{:.1e}")] if has_vectors else []),
                _number(record.details.get("planned_seconds"), "{:.4f}"),
                _number(record.of_planned, "{:.2f}"),
                _number(record.first_call, "{:.2f}"),
                _number(record.peak_bytes and record.peak_bytes / _GIB, "{:.4g}"),
                _number(record.planned_bytes and record.planned_bytes / _GIB, "{:.4g}"),
                record.note or record.reason,
            ]
            lines.append(_row(cells))
        return [*lines, ""]

    def _table_order(self, record: Record):
        job = record.job
        rhs = [_has(job, word) for word in self._words()].index(True)
        return (rhs, list(ITEMSIZE).index(job.dtype) != 1, job.dtype, job.n, -job.devices)

    def _stages(self) -> list[str]:
        taken_apart = self._taken_apart()
        if not taken_apart:
            return []
        lines = [
            "## Stages of jaxmg",
            "",
            "Median seconds, called from C++ on a matrix that may be overwritten; ranks wait for "
            "each other at the end of each stage. Beside them whole calls, from the table above.",
            "",
        ]
        heads = []
        for record in taken_apart:
            job = record.job
            note = f", {record.note}" if record.note else ""
            heads.append(f"N={job.n} {job.dtype}, {_ranks(job)}{note}")
        lines += [_row(["", *heads]), _row(["---"] * (1 + len(heads)))]
        for stage in _stages_of(taken_apart):
            seconds = [_seconds_of_stage(record, stage) for record in taken_apart]
            lines.append(_row([stage, *(_number(value, "{:.4f}") for value in seconds)]))
        lines.append(_row(["together", *(f"{record.seconds:.4f}" for record in taken_apart)]))
        beside = [self._beside(record) for record in taken_apart]
        for series in dict.fromkeys(_series(call) for calls in beside for call in calls):
            cells = []
            for calls in beside:
                seconds = [call.seconds for call in calls if _series(call) == series]
                cells.append(_number(seconds[0] if seconds else None, "{:.4f}"))
            lines.append(_row([_label(series), *cells]))
        return [*lines, ""]

    def _taken_apart(self) -> list[Record]:
        return [record for record in self._records if "stages" in record.details]

    def _beside(self, record: Record) -> list[Record]:
        """Return the whole calls for the same matrix."""
        job = record.job
        calls = [call for call in self._calls() if call.seconds]
        return [call for call in calls if (call.job.n, call.job.dtype) == (job.n, job.dtype)]

    def _words(self) -> tuple[str | None, ...]:
        """Return the requested numbers of right-hand sides; None for none."""
        return self._rhs or (None,)

    def _rooflines(self) -> list[str]:
        lines = ["## Sustained GEMM", "", _row(["dtype", "devices", "n", f"{self.unit} together"])]
        lines.append(_row(["---"] * 4))
        for (dtype, devices), measured in self.gemm.items():
            rate = self.rate(measured["flops_per_second"])
            lines.append(_row([dtype, devices, measured["n"], rate]))
        return [*lines, ""]

    def _overheads(self) -> list[str]:
        if not self.overhead:
            return []
        cost = {name: f"{1e3 * value:.2f} ms" for name, value in self.overhead["seconds"].items()}
        return [
            f"## Overhead at N={self.overhead['n']}",
            "",
            f"On {self.overhead['devices']} devices, float64, median: a jitted program that does "
            f"nothing {cost['empty']}; the roll call, rendezvous and redistribution of a solve "
            f"(`cyclic_1d`) {cost['dealing']}; a whole solve {cost['solve']}.",
            "",
        ]

    # ---- the plot -------------------------------------------------------------------------------

    def plot(self) -> str | None:
        """Write the plots; return why there are none."""
        try:
            import matplotlib
        except ImportError:
            return "matplotlib is not installed"
        matplotlib.use("Agg")
        from matplotlib import pyplot

        self._plot_stages(pyplot)
        done = [record for record in self._calls() if record.seconds]
        words = [word for word in self._words() if any(_has(r.job, word) for r in done)]
        dtypes = [dtype for dtype in ITEMSIZE if any(r.job.dtype == dtype for r in done)]
        if not dtypes:
            return "nothing was measured"
        # The sweep gets the widest panel.
        orders = [len({r.job.n for r in done if r.job.dtype == dtype}) for dtype in dtypes]
        figure, panels = pyplot.subplots(
            len(words),
            len(dtypes),
            figsize=(4.5 + 2.8 * len(dtypes), 0.8 + 3.8 * len(words)),
            squeeze=False,
            layout="constrained",
            width_ratios=[1 + 2 * (count > 1) for count in orders],
        )
        series = sorted({_series(r) for r in done}, key=lambda s: (s[0] != "jaxmg", -s[1], s[0]))
        for row, word in zip(panels, words, strict=True):
            for panel, dtype in zip(row, dtypes, strict=True):
                shown = [r for r in done if r.job.dtype == dtype and _has(r.job, word)]
                if shown:
                    self._panel(panel, shown, series)
                panel.set_title(dtype if len(words) == 1 else f"{dtype}, nrhs = {word}")
            row[0].set_ylabel(f"{self.unit}, {self._routine.timed.removesuffix(' together')}")
        handles = {}
        for panel in panels.flat:
            handles |= dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
        figure.legend(handles.values(), handles.keys(), loc="outside right upper", fontsize=9)
        title, day = self._head["title"], self._head["date"][:10]
        figure.suptitle(f"{title}, {self._head['hardware']}, {day}")
        figure.savefig(self.path.with_suffix(".png"), dpi=130)
        pyplot.close(figure)
        return None

    def _plot_stages(self, pyplot):
        """Draw a panel for each matrix, with a bar of stages for each number of ranks."""
        taken_apart = self._taken_apart()
        if not taken_apart:
            return
        stages, colours = _stages_of(taken_apart), pyplot.get_cmap("tab20")
        matrices = list(dict.fromkeys((record.job.n, record.job.dtype) for record in taken_apart))
        figure, panels = pyplot.subplots(
            1,
            len(matrices),
            figsize=(3.5 + 2.6 * len(matrices), 4.6),
            squeeze=False,
            layout="constrained",
        )
        for panel, (n, dtype) in zip(panels.flat, matrices, strict=True):
            bars = [r for r in taken_apart if (r.job.n, r.job.dtype) == (n, dtype)]
            calls = self._beside(bars[0])
            for at, record in enumerate(bars):
                bottom = 0.0
                for i, stage in enumerate(stages):
                    height = _seconds_of_stage(record, stage) or 0.0
                    panel.bar(at, height, bottom=bottom, color=colours(i), label=stage)
                    bottom += height
            for at, call in enumerate(calls, len(bars)):
                panel.bar(at, call.seconds, color="0.75")
            names = [f"stages, {_ranks(r.job)}" for r in bars]
            names += [_label(_series(call)) for call in calls]
            panel.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
            panel.set_title(f"N={n}, {dtype}", fontsize=10)
            panel.grid(axis="y", alpha=0.3)
            panel.set_axisbelow(True)
        panels.flat[0].set_ylabel("seconds")
        handles = dict(zip(*reversed(panels.flat[0].get_legend_handles_labels()), strict=True))
        # From top to bottom, as in the bars.
        figure.legend(
            list(handles.values())[::-1],
            list(handles)[::-1],
            loc="outside right center",
            fontsize=8,
        )
        day = self._head["date"][:10]
        title = f"{self._head['title']}, {self._head['hardware']}, {day}"
        figure.suptitle(title, fontsize=10)
        path = self.path.with_name(f"{self.path.name}_stages.svg")
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)

    def _panel(self, panel, records: list[Record], series):
        for i, (system, devices) in enumerate(series):
            self._line(panel, [r for r in records if _series(r) == (system, devices)], i)
        best = max(map(self.flops_per_second, records), default=0)
        for (dtype, devices), measured in sorted(self.gemm.items()):
            # A line far above all others would flatten them.
            if dtype == records[0].job.dtype and measured["flops_per_second"] < 30 * best:
                self._roofline(panel, devices, measured["flops_per_second"] / self._scale)
        shown = sorted({record.job.n for record in records})
        panel.set_xscale("log", base=2)
        panel.set_xticks(shown, [str(n) for n in shown], rotation=45)
        panel.xaxis.minorticks_off()
        if len(shown) == 1:
            panel.set_xlim(shown[0] / 2, shown[0] * 2)
        panel.set_ylim(bottom=0)
        panel.set_xlabel("N")
        panel.grid(alpha=0.3)

    def _line(self, panel, records: list[Record], i):
        if not records:
            return
        points = {record.job.n: self.flops_per_second(record) / self._scale for record in records}
        orders = sorted(points)
        system, devices = _series(records[0])
        panel.plot(
            orders,
            [points[n] for n in orders],
            marker="osD^vP*X"[i % 8],
            color=f"C{i % 10}",
            linewidth=2.4 if system == "jaxmg" else 1.4,
            label=_label((system, devices)),
        )

    def _roofline(self, panel, devices, rate):
        panel.axhline(rate, color="0.35", linestyle="--", linewidth=1)
        panel.annotate(
            f"GEMM on {devices}",
            (0.02, rate),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            fontsize=8,
            color="0.35",
        )


def _series(record: Record):
    return record.system, record.job.devices


def _label(series) -> str:
    system, devices = series
    return f"{system}, {devices} device" + ("s" if devices > 1 else "")


def _ranks(job: Job) -> str:
    return f"{job.devices} rank" + ("s" if job.devices > 1 else "")


def _stages_of(records: list[Record]) -> list[str]:
    """Return the stages of all records, in order."""
    places = {}
    for record in records:
        for place, name in enumerate(record.details["stages"]):
            places[name] = min(place, places.get(name, place))
    return sorted(places, key=places.get)


def _seconds_of_stage(record: Record, stage: str) -> float | None:
    samples = record.details["stages"].get(stage)
    return statistics.median(samples) if samples else None


def _has(job: Job, word: str | None) -> bool:
    """Return whether a job has the number of right-hand sides given as `word`."""
    return word is None or job.nrhs == rhs_count(word, job.n)


def _row(cells) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _number(value, form: str) -> str:
    return "" if value is None else form.format(value)
