"""The planner's times beside all measured ones."""

import json
from pathlib import Path
from typing import NamedTuple

RESULTS = Path(__file__).with_name("results")


class Row(NamedTuple):
    """One measured call of jaxmg."""

    routine: str
    n: int
    dtype: str
    nrhs: int
    devices: int
    hardware: str
    seconds: float
    planned: float

    @property
    def ratio(self) -> float:
        return self.seconds / self.planned


def rows(folder: Path = RESULTS, system: str = "jaxmg") -> list[Row]:
    """Return the measurements of the reports in a folder; of several equal ones, the newest."""
    found = {}
    reports = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    for report in sorted(reports, key=lambda report: report["date"]):
        for record in report.get("records", ()):
            job, planned = record["job"], record["details"].get("planned_seconds")
            if record["system"] != system or not record["seconds"] or not planned:
                continue
            kind = report["hardware"].split(" x ", 1)[-1]
            what = report["title"], job["n"], job["dtype"], job["nrhs"], job["devices"], kind
            found[what] = Row(*what, record["seconds"], planned)
    return sorted(found.values(), key=lambda row: (row.hardware, row.devices, *row[:4]))


def table(found: list[Row]) -> str:
    """Return a Markdown table, and how many of the estimates are within 20 %."""
    lines = ["| routine | N | type | devices | measured, s | planned, s | measured / planned |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in found:
        rhs = f", {row.nrhs} right-hand sides" if row.nrhs > 1 else ""
        lines.append(
            f"| {row.routine}{rhs} | {row.n} | {row.dtype} | {row.devices} x {row.hardware} "
            f"| {row.seconds:.3g} | {row.planned:.3g} | {row.ratio:.2f} |"
        )
    near = sum(1 / 1.2 <= row.ratio <= 1.2 for row in found)
    return "\n".join([*lines, "", f"{near} of {len(found)} times are within 20 % of the estimate."])
