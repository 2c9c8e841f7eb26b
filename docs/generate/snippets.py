"""Definitions for the code blocks of a page that has no imports of its own.

They are docs/snippets/setup.py and, if it exists, docs/snippets/PAGE.py.
"""

import re
from pathlib import Path

_SNIPPETS = Path(__file__).parents[1] / "snippets"


def setup_code(page: str, text: str) -> str:
    """Return the definitions for a page with a name and a text, or an empty string."""
    if "```python" not in text or re.search(r"^ *import jax\b", text, re.MULTILINE):
        return ""
    files = [_SNIPPETS / "setup.py", _SNIPPETS / f"{page}.py"]
    return "\n".join(file.read_text() for file in files if file.exists()).rstrip()


def with_setup(page: str, text: str) -> str:
    """Return a page with its definitions as a block to unfold, below the title."""
    code = setup_code(page, text)
    if not code:
        return text
    title, _, rest = text.partition("\n\n")
    lines = code.replace("\n", "\n    ")
    block = f'??? example "Setup for the code on this page"\n\n    ```python\n    {lines}\n    ```'
    return f"{title}\n\n{block}\n\n{rest}"
