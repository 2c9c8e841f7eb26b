"""A check of the links within the built site, also of the links in generated HTML.

    python docs/generate/links.py build/docs    # lists links to other sites, with their pages

Links to other sites are not checked by a build, which would then need the network.
"""

import re
import sys
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


def external(site: Path) -> dict[str, list[str]]:
    """Return the pages that link to each address of another site."""
    found = {}
    for path in sorted(site.rglob("*.html")):
        for link in sorted(set(_LINK.findall(path.read_text()))):
            if urlsplit(link).scheme in ("http", "https"):
                found.setdefault(link, []).append(str(path.parent.relative_to(site)))
    return dict(sorted(found.items()))


if __name__ == "__main__":
    for address, pages in external(Path(sys.argv[1])).items():
        print(f"{address}  ({len(pages)}: {', '.join(pages[:3])}{', ...' if pages[3:] else ''})")
