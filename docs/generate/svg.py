"""SVG drawings in the colours of the page, light or dark."""

from html import escape

DEVICES = 4  # classes device-0 ... device-3 in jaxmg.css


class Drawing:
    """A canvas of `width` x `height` units, with the text that describes it to a screen reader."""

    def __init__(self, width: float, height: float, description: str):
        self._head = (
            f'<svg class="jaxmg-drawing" viewBox="0 0 {width:g} {height:g}" role="img" '
            f'style="max-width:{width:g}px" xmlns="http://www.w3.org/2000/svg">'
            f"<title>{escape(description)}</title>"
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto-start-reverse"><path d="M0,0 L8,4 L0,8 z"/>'
            "</marker></defs>"
        )
        self._parts: list[str] = []

    def rect(self, x, y, width, height, kind="box", text=""):
        """Draw a box of the CSS class `kind`, with a line of text in its middle."""
        self._parts.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}"/>'
        )
        if text:
            on = "on-device" if kind.startswith("device") else ""
            self.text(x + width / 2, y + height / 2 + 4, text, kind=on, anchor="middle")

    def text(self, x, y, text, kind="", anchor="start"):
        self._parts.append(
            f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
            f"{escape(text)}</text>"
        )

    def line(self, *points, kind="line", arrow=False, both=False):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        ends = ' marker-end="url(#tip)"' if arrow or both else ""
        ends += ' marker-start="url(#tip)"' if both else ""
        self._parts.append(f'<polyline class="{kind}" points="{path}"{ends}/>')

    def polygon(self, *points, kind="box"):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._parts.append(f'<polygon class="{kind}" points="{path}"/>')

    def __str__(self) -> str:
        return self._head + "".join(self._parts) + "</svg>"


def figure(svg: str, caption: str = "") -> str:
    note = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f'<figure class="jaxmg-figure">{svg}{note}</figure>'
