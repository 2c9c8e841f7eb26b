"""Definitions for the code blocks of a page: docs/snippets/setup.py, and more for some pages."""

from pathlib import Path

_SNIPPETS = Path(__file__).parents[1] / "snippets"


def setup_code(page: str = "") -> str:
    names = ["setup", *([page] if page else [])]
    return "\n".join((_SNIPPETS / f"{name}.py").read_text() for name in names).rstrip()
