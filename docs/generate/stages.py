"""The stages of the eigensolver on a GPU as measured, as a drawing and a table."""

import re

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


GPUS = 4  # whose measurements are shown


def draw() -> tuple[str, str]:
    """Return the shares of the stages in the time of a call, and their seconds."""
    date, hardware, found = _newest()
    width, top, step = 600, 24, 46
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
    caption = f"{hardware}, {date}, float64, with eigenvectors, called from C++"
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


def _newest() -> tuple[str, str, dict[int, dict[str, float]]]:
    """Return date, hardware, and the seconds of stages by order, of the newest table of stages."""
    path = max(measurements.RESULTS.glob("*_stages.md"))
    text = path.read_text()
    date, hardware = (
        re.search(f"^- {key}: (.*)", text, re.MULTILINE)[1] for key in ("date", "hardware")
    )
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)[0]  # the first one, with eigenvectors
    head, _, *rows = ([c.strip() for c in row.split("|")[1:-1]] for row in table.splitlines())
    seconds = {row[0]: row[1:] for row in rows}
    found = {}
    for column, title in enumerate(head[1:]):
        gpus, n = re.fullmatch(r"(\d+) GPUs?, N = (\d+)", title).groups()
        if int(gpus) == GPUS:
            stages = {name: float(seconds[name][column]) for name in _STAGES}
            others = float(seconds["together"][column]) - sum(stages.values())
            found[int(n)] = stages | {_OTHERS: others}
    return date, hardware, found
