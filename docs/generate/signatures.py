"""Signatures and docstrings as they are at run time, for the API pages (an extension of Griffe).

Decorators add shared options to the signatures and docstrings in the sources.
"""

import importlib
import inspect
import re

import griffe


def _document(thing):
    """Replace a docstring that is in the sources; return the class or function at run time."""
    value = importlib.import_module(thing.module.path)
    for name in thing.path.removeprefix(thing.module.path + ".").split("."):
        value = getattr(value, name, None)
    if thing.docstring is None or value is None or value.__doc__ is None:
        return None
    thing.docstring.value = _in_markdown(inspect.getdoc(value))
    return value


def _in_markdown(text: str) -> str:
    """Write definition lists within descriptions, and names of functions, in Markdown."""
    text = re.sub(r"^(jaxmg[\w.]+) : ", r"`\1`: ", text, flags=re.MULTILINE)
    lines, found = text.splitlines(), []
    for before, line in zip(["", *lines], lines, strict=False):
        if _indentation(line) == 8 and _indentation(before) == 4 and before.strip():
            found.insert(len(found) - 1, "")
            line = "    :   " + line.lstrip()
        found.append(line)
    return "\n".join(found)


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


class AtRunTime(griffe.Extension):
    """Replaces what was read from the sources."""

    def on_class(self, *, cls, **_):
        _document(cls)

    def on_function(self, *, func, **_):
        value = _document(func)
        if not inspect.isfunction(value):
            return
        func.parameters = griffe.Parameters(
            *(
                griffe.Parameter(
                    one.name,
                    kind=griffe.ParameterKind(one.kind.description),
                    default=None if one.default is one.empty else repr(one.default),
                )
                for one in inspect.signature(value).parameters.values()
            )
        )
