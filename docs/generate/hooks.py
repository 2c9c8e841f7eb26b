"""MkDocs events: the parts of the documentation that are generated from programs and measurements.

A line ``{{ NAME ARGUMENTS }}`` of a page is replaced by the result of a function in DIRECTIVES:
Markdown, or an HTML figure. Nothing generated is kept in the sources.

Pages whose code has no imports get a block with definitions, docs/snippets/*.py.

``jaxmg.linalg.solve`` and other public names in code, on any page, become links to the API pages.
"""

import re
import shlex
from pathlib import Path

import drawings
import jaxmg
import links
import measurements
import memory
import programs
import scaling
import snippets
import stages
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]

DIRECTIVES = {
    "accuracy": measurements.accuracy,
    "card": measurements.card,
    "drawing": drawings.draw,
    "examples": programs.table,
    "file": programs.file,
    "largest": memory.largest,
    "measurements": measurements.sections,
    "other_measurements": measurements.others,
    "run": programs.output,
    "scaling_compared": scaling.compared,
    "scaling_plot": scaling.figure,
    "scaling_table": scaling.table,
    "stages_drawing": stages.drawing,
    "stages_table": stages.table,
    "times": measurements.times,
}

_DIRECTIVE = re.compile(r"^\{\{ (.+) \}\}$", re.MULTILINE)
_CODE = re.compile(r"<code>(jaxmg(?:\.[A-Za-z]\w*)+)((?:\([^<]*\))?)</code>")
# Where a link would be within a link, or a name is the title of its own section.
_UNLINKED = re.compile(r"(<a\b.*?</a>|<h[1-6]\b.*?</h[1-6]>|<pre\b.*?</pre>)", re.DOTALL)

# The project's files that are pages, and where their links lead.
_PAGES = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}


def on_config(config):
    """Add the version to the title, and the pages of the examples to the navigation."""
    config.site_name = f"{config.site_name} {jaxmg.__version__}"
    names = [f"examples/{program.stem}.md" for program in programs.PROGRAMS]
    for part in config.nav:
        if "Examples" in part:
            part["Examples"] = [part["Examples"], *names]
    return config


def on_files(files, config):
    for name, source in _PAGES.items():
        text = (ROOT / source).read_text()
        files.append(File.generated(config, name, content=text.replace("](docs/", "](")))
    for name, content in programs.pages().items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown, page, config, files):
    page.meta["figures"] = figures = []

    def replaced(match):
        name, *arguments = shlex.split(match[1])
        if name not in DIRECTIVES:
            raise PluginError(f"{page.file.src_uri}: no directive {name!r} in docs/generate")
        result = DIRECTIVES[name](*arguments)
        if not result.startswith("<figure"):
            return _DIRECTIVE.sub(replaced, result)
        figures.append(result)
        return f'<div data-figure="{len(figures) - 1}"></div>'

    name = Path(page.file.src_uri).stem
    return _DIRECTIVE.sub(replaced, snippets.with_setup(name, markdown))


def on_page_content(html, page, config, files):
    for number, figure in enumerate(page.meta["figures"]):
        html = html.replace(f'<div data-figure="{number}"></div>', figure)
    parts = _UNLINKED.split(html)
    parts[::2] = [_CODE.sub(_link, part) for part in parts[::2]]
    return "".join(parts)


def on_post_build(config):
    if found := links.broken(Path(config.site_dir).resolve()):
        raise PluginError("Broken links:\n" + "\n".join(found))


def _link(match):
    name, arguments = match.groups()
    return f'<autoref identifier="{name}" optional><code>{name}{arguments}</code></autoref>'
