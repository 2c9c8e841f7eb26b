"""A check of the links within the built site, also of those that generated HTML contains."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LINK = re.compile(r'\b(?:href|src)="([^"]*)"')
_ID = re.compile(r'\b(?:id|name)="([^"]+)"')


def broken(site: Path) -> list[str]:
    """Return the links to missing files and anchors, each as "page: link"."""
    # The page for missing pages is served from any place, with absolute links.
    pages = {path: path.read_text() for path in site.rglob("*.html") if path.name != "404.html"}
    anchors = {path: set(_ID.findall(text)) for path, text in pages.items()}
    found = []
    for page, text in pages.items():
        for link in set(_LINK.findall(text)):
            parts = urlsplit(link.replace("&amp;", "&"))
            if parts.scheme or parts.netloc:
                continue
            target = page.parent / unquote(parts.path) if parts.path else page
            target = (target / "index.html" if target.is_dir() else target).resolve()
            fragment = unquote(parts.fragment)
            missing = fragment and target in anchors and fragment not in anchors[target]
            if not target.exists() or missing:
                found.append(f"{page.relative_to(site)}: {link}")
    return sorted(found)
