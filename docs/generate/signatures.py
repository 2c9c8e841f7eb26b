"""Signatures and docstrings as they are at run time, for the API pages (an extension of Griffe).

Decorators add shared options to the signatures and docstrings in the sources.
"""

import importlib
import inspect

import griffe


def _definitions(text: str) -> str:
    """Write definition lists within descriptions of parameters as in Markdown."""
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
    def on_function(self, *, func, **_):
        """Replace what was read from the sources."""
        value = importlib.import_module(func.module.path)
        for name in func.path.removeprefix(func.module.path + ".").split("."):
            value = getattr(value, name, None)
        if func.docstring is None or not inspect.isfunction(value) or value.__doc__ is None:
            return
        func.docstring.value = _definitions(inspect.getdoc(value))
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
