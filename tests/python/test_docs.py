"""The code, commands, messages and drawings of the documentation and of README.md."""

import re
import sys
import textwrap
import warnings
import xml.etree.ElementTree
from pathlib import Path

import jax
import jaxmg
import pytest
from jaxmg.__main__ import main

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]

FENCE = re.compile(r"^( *)```(?:\{ *\.)?(\w+)(.*)\n((?:.*\n)*?)\1``` *$", re.MULTILINE)

sys.path.insert(0, str(DOCS / "generate"))
import drawings  # noqa: E402
import measurements  # noqa: E402
import memory  # noqa: E402
from snippets import setup_code  # noqa: E402


def blocks(page, *languages):
    """Yield (first line, attributes, text) of the code blocks of a page."""
    content = page.read_text()
    for match in FENCE.finditer(content):
        if match[2] in languages:
            yield content[: match.start()].count("\n") + 2, match[3], textwrap.dedent(match[4])


def with_blocks(*languages):
    pages = [page for page in PAGES if any(blocks(page, *languages))]
    return pytest.mark.parametrize("page", pages, ids=lambda page: str(page.relative_to(ROOT)))


@with_blocks("python")
def test_code_runs(page):
    """Blocks run in the order of the page. Blocks with the class "gpu" need GPUs."""
    names = {"__name__": "__main__"}
    exec(setup_code(page.stem, page.read_text()), names)
    try:
        for line, attributes, text in blocks(page, "python"):
            compiled = compile("\n" * (line - 1) + text, str(page), "exec")
            if ".cluster" in attributes or (
                ".gpu" in attributes and jax.default_backend() != "gpu"
            ):
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", jaxmg.JaxMgWarning)
                exec(compiled, names)
    finally:
        jaxmg.config.update("backend", None)


@with_blocks("sh")
def test_commands_exist(page, capsys):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    extras = set(re.findall(r"^([\w-]+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
    for _, _, text in blocks(page, "sh"):
        for command in text.splitlines():
            for target in re.findall(r"\bmake ([a-z-]+)", command):
                assert target in targets, command
            for wanted in re.findall(r"pip install .*\[([\w,-]+)\]", command):
                assert set(wanted.split(",")) <= extras, command
            for name in re.findall(r"\b(?:examples|benchmarks|tests)/[\w/.]+", command):
                assert (ROOT / name).exists(), command
            if match := re.search(r"python -m jaxmg (plan .*?)(?: #.*)?$", command):
                assert main(match[1].split()) == 0, command


# Beginnings of messages of JAX and XLA.
FOREIGN = ("NOT_FOUND", "No FFI", "ValueError: Cannot serialize", "Floating", "RESOURCE", "x")


def test_messages_exist():
    """Titles of the troubleshooting page that are messages of this package are in its sources."""
    sources = "".join(
        path.read_text()
        for folder in ("python/jaxmg", "cpp")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".h", ".cc")
    )
    # Messages are assembled from pieces, over several lines and with values.
    sources = re.sub(r'"\s*f?"', "", sources)
    titles = re.findall(r"^### `(.+?)`", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    titles = [title for title in titles if not title.startswith(FOREIGN)]
    assert len(titles) > 10
    for title in titles:
        message = re.sub(r"^(\w+(Error|Warning): )?(a )?", "", title)
        for piece in re.split(r"\.\.\.|: |'\w+'|\[|\]", message):
            assert piece.strip(" :(),.") in sources, title


@pytest.mark.parametrize(
    "name", ["layout", "row_shard", "tiles", "potrf", "eigensolver", "transports"]
)
def test_drawings_are_well_formed(name):
    figure = xml.etree.ElementTree.fromstring(drawings.draw(name))
    assert figure.tag == "figure" and len(figure[0]) > 5


def test_the_order_of_potrf():
    """No part of a step begins before what it waits for has ended."""
    work = drawings._schedule(columns=10, ranks=4)
    times = {(name, step): (begin, end) for _, step, name, begin, end in work}
    for step in range(1, 9):
        assert times["diagonal", step][0] >= times["update near", step - 1][1]
        assert times["near", step][0] >= times["diagonal", step][1]
    # Look-ahead: a diagonal block is factored before the updates of the step before have ended.
    assert times["diagonal", 2][1] < times["bulk", 1][1]


@pytest.mark.parametrize("routine", ["potrs", "syevd"])
def test_the_largest_order_fits_and_the_next_one_does_not(routine):
    """With the workspace that is left, if the planner's choice does not fit."""
    limit = int(80e9)

    def planned(n):
        asked = routine, (n, n), "float64", 4
        plan = jaxmg.plan(*asked, platform="gpu")
        room = int(0.98 * limit) - plan.shard_bytes - plan.rhs_bytes
        return jaxmg.plan(*asked, platform="gpu", workspace_limit=room)

    n = memory.order(routine, 4, limit)
    assert planned(n).total_bytes <= limit
    with pytest.raises(ValueError, match="the least workspace"):
        planned(n + memory.STEP)


def test_every_measured_time_is_in_the_tables():
    text = measurements.sections()
    assert measurements.runs()
    for run in measurements.runs():
        assert run.head["date"][:10] in text
        for record in run.times:
            assert f"| {record['seconds']:.3g} |" in text


def test_every_public_name_has_an_entry_in_the_reference():
    pages = "".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    entries = set(re.findall(r"^::: ([\w.]+)$|\{ #([\w.]+) \}$", pages, re.MULTILINE))
    entries = {name for pair in entries for name in pair}
    modules = {"linalg", "utils"}
    expected = {f"jaxmg.{name}" for name in jaxmg.__all__ if name not in modules}
    expected |= {f"jaxmg.linalg.{name}" for name in jaxmg.linalg.__all__}
    expected -= {"jaxmg.Plan"}  # jaxmg.plan.Plan
    assert not expected - entries


def test_links_of_the_readme_exist():
    for name in re.findall(r"\]\(([^)#:]+)[^):]*\)", (ROOT / "README.md").read_text()):
        assert (ROOT / name).exists(), name


def test_times_of_the_readme_are_measured():
    """The table of the readme has the times of benchmarks/results."""
    _, series = measurements.shown()
    ours = measurements.by_order(series["jaxmg, 4 GPUs"])
    theirs = measurements.by_order(series["cuSOLVERMp, 4 GPUs"])
    row = r"^\| (\d+) \| \*\*([\d.]+)\*\* \| ([\d.]+) \|"
    found = re.findall(row, (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(found) > 2
    for n, *seconds in found:
        for measured, text in zip((ours[int(n)], theirs[int(n)]), seconds, strict=True):
            assert float(text) == pytest.approx(measured, rel=0.02)
