"""The stages of the eigensolver on a GPU as measured, as a drawing and a table."""

import statistics

import measurements
from svg import DEVICES, Drawing, figure

# Work and limit of each stage, by its name in measurements and in profiles.
_STAGES = {
    "band reduction": "A = Q1 B Q1^H. Products of A with panels, between chains of short "
    "kernels that factor the panels: the chains decide for small N",
    "bulge chasing": "B = Q2 T Q2^H. One kernel that reads only the band, in steps that "
    "depend on each other",
    "divide and conquer": "T = Q diag(w) Q^T. Merges: secular equations, then products",
    "back by Q2": "Q2 Q. Products of many small reflector blocks with all eigenvectors",
    "back by Q1": "Q1 (Q2 Q). Products of wide reflector blocks with all eigenvectors",
}
_OTHERS = "all others"


def draw() -> tuple[str, str]:
    """Return the shares of the stages in the time of a call, and their seconds."""
    run, found = _newest()
    head, width, top, step = run.head, 600, 24, 46
    names = [*_STAGES, _OTHERS]
    orders = sorted(found)
    height = top + step * len(orders) + 22 * len(names)
    d = Drawing(700, height, "Bars divided into the stages of the eigensolver, by order")
    for row, n in enumerate(orders):
        total, left = sum(found[n].values()), 90.0
        d.text(0, top + step * row + 20, f"N = {n}", "small")
        for place, name in enumerate(names):
            share = width * found[n][name] / total
            kind = f"device-{place % DEVICES}" if name != _OTHERS else "box"
            d.rect(left, top + step * row, share, 30, kind, f"{place + 1}" if share > 14 else "")
            left += share
    for place, name in enumerate(names):
        d.text(90, top + step * len(orders) + 16 + 22 * place, f"{place + 1}  {name}", "small")
    caption = (
        f"{head['hardware']}, {head['date'][:10]}, float64, with eigenvectors, called from C++"
    )
    rows = [f"| {' | '.join(['stage', *(f'N = {n}, s' for n in orders), 'work'])} |"]
    rows.append(f"|{'---|' * (len(orders) + 2)}")
    for name in names:
        seconds = [f"{found[n][name]:.3f}" for n in orders]
        rows.append(f"| {' | '.join([name, *seconds, _STAGES.get(name, 'scaling, copies')])} |")
    return figure(str(d), caption), "\n".join(rows)


def drawing() -> str:
    return draw()[0]


def table() -> str:
    return draw()[1]


def _newest():
    """Return the newest runs' hardware and the median seconds of stages on one GPU, by order."""
    found, last = {}, None
    for run in sorted(measurements.runs(), key=lambda run: run.head["date"]):
        for record in run.head["records"]:
            stages, job = record["details"].get("stages"), record["job"]
            one = job["devices"] == 1 and job["nrhs"] == 0 and job["dtype"] == "float64"
            if stages and one and set(_STAGES) <= stages.keys():
                if last and last.head["hardware"] != run.head["hardware"]:
                    found = {}
                found[job["n"]], last = _medians(stages), run
    if last is None:
        raise ValueError("no run in benchmarks/results has the stages of the eigensolver")
    return last, found


def _medians(stages: dict[str, list[float]]) -> dict[str, float]:
    seconds = {name: statistics.median(samples) for name, samples in stages.items()}
    named = {name: seconds.pop(name) for name in _STAGES}
    return named | {_OTHERS: sum(seconds.values())}
