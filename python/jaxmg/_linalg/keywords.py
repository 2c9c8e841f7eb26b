"""Shared keyword arguments of several functions, declared and described once in a dataclass."""

import functools
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import field, fields
from typing import Any, TypeVar

Result = TypeVar("Result")


def keyword(default, description: str):
    """Return a field of a dataclass of keyword arguments: its default and its description."""
    return field(default=default, metadata={"description": textwrap.dedent(description).strip()})


def gathered(
    parameter: str, record: Any, *names: str
) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Return a decorator that passes keyword arguments on as one instance of `record`.

    The decorated function declares only the argument `parameter`. Callers pass the fields `names`
    of the record (by default all) as keywords. The signature lists them, and their descriptions
    replace ``{parameter}`` in the docstring.
    """
    names = names or tuple(one.name for one in fields(record))

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        signature = inspect.signature(function)
        parameters = [one for one in signature.parameters.values() if one.name != parameter]
        parameters += [
            inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default)
            for one in fields(record)
            if one.name in names
        ]

        @functools.wraps(function)
        def run(*arguments, **keywords):
            given = {name: keywords.pop(name) for name in names if name in keywords}
            return function(*arguments, **keywords, **{parameter: record(**given)})

        setattr(run, "__signature__", signature.replace(parameters=parameters))  # noqa: B010
        run.__doc__ = described(function.__doc__, parameter, record, *names)
        return run

    return decorate


def described(text: str | None, parameter: str, record: type, *names: str) -> str | None:
    """Return a docstring with ``{parameter}`` replaced by the descriptions of `names`."""
    if text is None:  # Python runs with -OO.
        return None
    place = f"{{{parameter}}}"
    line = next((line for line in text.splitlines() if line.strip() == place), place)
    wanted = [one.metadata["description"] for one in fields(record) if one.name in names]
    return text.replace(line, textwrap.indent("\n".join(wanted), line.removesuffix(place)))
