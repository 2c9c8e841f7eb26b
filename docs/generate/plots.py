"""Plots in the colours of the page: SVG by Matplotlib, with text that follows the theme."""

import contextlib
import io
import re

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402

COLORS = ("#3f7fbf", "#d9822b", "#4a9d5b", "#a05cb0", "#b8433f", "#7a7a7a", "#1aa3a3")
_INK = "#010203"  # becomes the color of the text of the page

_SETTINGS = {
    "svg.fonttype": "none",
    "font.size": 11,
    "axes.prop_cycle": matplotlib.cycler(color=COLORS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "grid.alpha": 0.25,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    **{
        name: _INK
        for name in (
            "text.color",
            "axes.edgecolor",
            "axes.labelcolor",
            "axes.titlecolor",
            "xtick.color",
            "ytick.color",
            "grid.color",
        )
    },
}


@contextlib.contextmanager
def settings(name: str):
    """Draw with the settings of the documentation. Equal data must give equal files."""
    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": name}):
        yield


def as_figure(figure, name: str, description: str, caption: str = "") -> str:
    """Return a plot as an HTML figure, and close it."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    pyplot.close(figure)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"font: [^;\"]*'DejaVu Sans'[^;\"]*", _font, svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # All plots of a page are parts of one document.
    svg = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r"(url\(|href=\")#", rf"\1#{name}-", svg)
    svg = svg.replace("<svg", f'<svg class="jaxmg-plot" role="img" aria-label="{description}"', 1)
    note = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f'<figure class="jaxmg-figure">{svg}{note}</figure>'


def _font(match):
    return match[0].replace("'DejaVu Sans'", "inherit")
