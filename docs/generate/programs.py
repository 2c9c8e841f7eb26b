"""Pages of the programs in examples/: introduction, code, output, and a picture if there is one.

The introduction is the program's docstring, whose first line is the title. Programs run on four
virtual CPU devices.
"""

import ast
import functools
import re
import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import jax
import outcomes
from mkdocs.exceptions import PluginError
from outcomes import Outcome

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted((ROOT / "examples").glob("*.py"))


class Program(NamedTuple):
    title: str
    introduction: str
    code: str


def read(path: Path) -> Program:
    source = path.read_text()
    tree = ast.parse(source)
    docstring = ast.get_docstring(tree)
    if not docstring:
        raise PluginError(f"{path}: a docstring, with the title as its first line, is missing")
    # A long first line is a title up to its first comma, colon or semicolon, and a sentence.
    first, _, introduction = docstring.partition("\n")
    title, rest = re.fullmatch(r"([^,:;.]*)[,:;.]?\s*(.*)", first).groups()
    if rest:
        introduction = f"{rest[0].upper()}{rest[1:]}\n{introduction}"
    lines = source.splitlines()[tree.body[0].end_lineno :]
    return Program(title, introduction.strip(), "\n".join(lines).strip())


@functools.cache
def _run_example(path: Path) -> Outcome:
    return outcomes.run(str(path.relative_to(ROOT)))


def _fenced(text: str, language: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"


def _output(outcome: Outcome, command: str, where: str = "") -> str:
    if outcome.missing:
        return (
            f'!!! note "Not run"\n    The program needs the package `{outcome.missing}`, which was '
            "not installed when this page was built."
        )
    return (
        f'{where}<div class="jaxmg-output" markdown>\n\n'
        f"{_fenced(f'$ {command}{chr(10)}{outcome.output}', 'text')}\n\n</div>"
    )


def pages() -> dict[str, str | bytes]:
    """Return the files of all examples: pages and pictures."""
    programs = [read(path) for path in PROGRAMS]
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(_run_example, PROGRAMS))
    found = {}
    for path, program, outcome in zip(PROGRAMS, programs, runs, strict=True):
        name = path.relative_to(ROOT)
        parts = [f"# {program.title}", program.introduction]
        if outcome.picture:
            found[f"examples/{path.stem}.png"] = outcome.picture
            parts.append(f"![Picture drawn by the program]({path.stem}.png){{ .jaxmg-picture }}")
        parts += [
            "## Output",
            _output(
                outcome,
                f"python {name}",
                f"On four virtual CPU devices, with JAX {jax.__version__}, when this page was "
                "built:\n\n",
            ),
            "## Program",
            f"`{name}`",
            _fenced(program.code, "python"),
        ]
        found[f"examples/{path.stem}.md"] = "\n\n".join(parts) + "\n"
    return found


def table() -> str:
    """Return the list of all examples."""
    lines = ["| example | program | |", "|---|---|---|"]
    for path in PROGRAMS:
        link = f"[{read(path).title}](examples/{path.stem}.md)"
        picture = ""
        if _run_example(path).picture:
            picture = f"![](examples/{path.stem}.png){{ .jaxmg-picture width=150 }}"
        lines.append(f"| {link} | `{path.name}` | {picture} |")
    return "\n".join(lines)


def file(name: str) -> str:
    """Return the text of a file of the repository as a block to unfold."""
    text = (ROOT / name).read_text().rstrip().replace("\n", "\n    ")
    language = "python" if name.endswith(".py") else "sh"
    return f'??? example "`{name}`"\n\n    ```{language}\n    {text}\n    ```'


def output(*command: str) -> str:
    """Return the output of a program, for a page."""
    return _output(outcomes.run(*command), shlex.join(("python", *command)))
