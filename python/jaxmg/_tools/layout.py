"""``python -m jaxmg show-layout``: which device holds which columns of a matrix."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from jaxmg._config import config
from jaxmg._planning.backends import STEPS
from jaxmg._tools import usage
from jaxmg._tools.usage import UsageError
from jaxmg.compat.layout import cyclic_places
from jaxmg.plan import Plan, plan

_WIDTH = 64  # characters of the drawing
_SYMBOLS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Layout:
    """Columns of a matrix of order `n` on `ranks` devices, in tiles of `tile` columns.

    The columns of the native code are the rows of the array in JAX.
    """

    n: int
    ranks: int
    tile: int

    @property
    def shard(self) -> int:
        """Columns of each device, padding included."""
        return -(-self.n // self.ranks)

    @property
    def full_tiles(self) -> int:
        return self.ranks * (self.shard // self.tile)

    def before(self) -> np.ndarray:
        """Return the device of each column as JAX stores the matrix."""
        return np.arange(self.n) // self.shard

    def places(self) -> np.ndarray:
        """Return the place of each column on all devices together, when the tiles are dealt."""
        return cyclic_places(self.shard, self.tile, self.ranks)[: self.n]

    def after(self) -> np.ndarray:
        """Return the device of each column when the tiles are dealt."""
        return self.places() // self.shard

    def runs(self, rank: int) -> list[tuple[int, int]]:
        """Return the columns of a device as runs (first, last), in the order of its memory."""
        places = self.places()
        columns = np.flatnonzero(places // self.shard == rank)
        columns = columns[np.argsort(places[columns])]
        edges = np.flatnonzero(np.diff(columns) != 1) + 1
        bounds = [0, *edges.tolist(), len(columns)]
        return [(int(columns[a]), int(columns[b - 1])) for a, b in pairwise(bounds) if b > a]


def text(layout: Layout) -> str:
    """Draw the layout in characters, and list the columns of each device."""
    cells = min(_WIDTH, layout.n)
    columns = np.arange(cells) * layout.n // cells
    per_cell = "" if cells == layout.n else f", {layout.n / cells:.3g} columns to a character"
    lines = [f"columns 0 to {layout.n - 1}{per_cell}; the number of the device:"]
    for title, owners in (("as stored", layout.before()), ("dealt", layout.after())):
        drawn = "".join(_SYMBOLS[owner % len(_SYMBOLS)] for owner in owners[columns])
        lines.append(f"  {title:<10} {drawn}")
    lines.append("")
    for rank in range(layout.ranks):
        runs = layout.runs(rank)
        shown = [f"{first}-{last}" if last > first else f"{first}" for first, last in runs]
        if len(shown) > 8:
            shown = [*shown[:6], "...", shown[-1]]
        held = sum(last - first + 1 for first, last in runs)
        count = f"{held} column{'s' * (held != 1)}"
        lines.append(f"  device {rank}: {count}: {', '.join(shown) or 'none'}")
    return "\n".join(lines)


def plot(layout: Layout, path: Path) -> None:
    """Draw the layout before and after the tiles are dealt, by columns and by memory."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.2), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True)
    padded = layout.ranks * layout.shard
    in_memory = np.full(padded, -1)
    in_memory[layout.places()] = layout.before()
    drawn = {
        "by column, as JAX stores the rows (colour: device)": layout.before(),
        f"by column, in tiles of {layout.tile} columns, dealt (colour: device)": layout.after(),
        "by place in memory, dealt (line: next device; colour: device before)": in_memory,
    }
    colours = colormaps["tab10"] if layout.ranks <= 10 else colormaps["viridis"]
    for panel, (title, owners) in zip(panels, drawn.items(), strict=True):
        panel.imshow(
            np.ma.masked_less(owners, 0)[None],
            aspect="auto",
            cmap=colours,
            interpolation="nearest",
            vmin=0,
            vmax=max(layout.ranks - 1, 9 if layout.ranks <= 10 else 1),
            extent=(0, len(owners), 0, 1),
        )
        panel.set_title(title, fontsize=9, loc="left")
        panel.set_yticks([])
    for rank in range(1, layout.ranks):
        panels[-1].axvline(rank * layout.shard, color="black", linewidth=1)
    panels[-1].set_xlabel(f"columns of a matrix of order {layout.n} on {layout.ranks} devices")
    figure.savefig(path, dpi=130, format="png")


def run(options) -> int:
    """Print the layout and draw it; return the exit status."""
    usage.check_picture(options.png)
    made, alone = _planned(options)
    layout = Layout(options.n, options.devices, made.tile)
    ragged = layout.shard % layout.tile
    rest = f" and {layout.ranks} of {ragged}" if ragged else ""
    print(
        f"{options.routine} of order {layout.n} in {made.dtype} on {layout.ranks} devices: "
        f"{layout.full_tiles} tiles of {layout.tile} columns{rest}"
    )
    if alone:
        print(
            "So small a matrix is gathered and solved by 1 device, unless a tile is given or "
            "JAXMG_ONE_RANK_UP_TO is below its order. With all devices:"
        )
    print(text(layout))
    if options.png is not None:
        plot(layout, options.png)
        print(f"\nWritten: {options.png}")
    return 0


def _planned(options) -> tuple[Plan, bool]:
    """Return the plan of all devices, and whether one of them would rather solve alone."""
    if options.routine not in STEPS:
        raise UsageError(f"--routine must be one of {', '.join(STEPS)}; got {options.routine!r}")
    asked = options.routine, (options.n, options.n), options.dtype, options.devices
    chosen = dict(platform=options.platform or usage.devices()[0].platform, backend="tiled")
    try:
        alone = plan(*asked, **chosen).ranks_at_work == 1 < options.devices
        with config.using(one_rank_up_to=0):
            return plan(*asked, tile=options.tile, **chosen), alone
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(str(error)) from None
