"""``jaxmg.config``: defaults for all calls, from the program or from environment variables."""

import contextlib
import contextvars
import math
import operator
import os
from collections.abc import Callable
from types import MappingProxyType
from typing import NamedTuple

from jaxmg._supported import BACKENDS, REFINEMENTS

__all__ = ["Config", "config"]


def check_backend(value, name: str = "backend") -> str:
    choices = ("auto", *BACKENDS)
    if value not in choices:
        raise ValueError(f"{name} must be one of {choices}, got {value!r}")
    return value


def check_refinement(value, name: str = "refine") -> str:
    choices = ("off", "auto", *REFINEMENTS)
    if value not in choices:
        raise ValueError(f"{name} must be one of {choices}, got {value!r}")
    return value


def _seconds(value, name: str) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ValueError(f"{name} must be a number of seconds above 0, got {value!r}")
    return seconds


def _log(value, name: str) -> str:
    if value not in ("off", "info"):
        raise ValueError(f"{name} must be 'off' or 'info', got {value!r}")
    return value


def _order(value, name: str) -> int:
    try:
        order = operator.index(int(value) if isinstance(value, str) else value)
    except (TypeError, ValueError):
        order = -1
    if order < 0:
        raise ValueError(f"{name} must be an integer from 0 on, got {value!r}")
    return order


class _Option(NamedTuple):
    variable: str  # environment variable
    default: object
    checked: Callable  # (value, name) -> the validated value; raises ValueError


_OPTIONS = {
    "backend": _Option("JAXMG_BACKEND", "auto", check_backend),
    "log": _Option("JAXMG_LOG", "off", _log),
    "one_rank_up_to": _Option("JAXMG_ONE_RANK_UP_TO", None, _order),
    "refine": _Option("JAXMG_REFINE", "off", check_refinement),
    "timeout_seconds": _Option("JAXMG_TIMEOUT_SECONDS", 300.0, _seconds),
}

_NOTHING = MappingProxyType({})


class Config:
    """Options shared by all calls; ``jaxmg.config`` is the only instance.

    The value of an option is set by `using`, by `update`, by its environment variable or by its
    default, in this order of precedence. Options are read while a call is traced: a program that
    ``jax.jit`` has compiled keeps the values it was traced with.

    Attributes
    ----------
    backend : {"auto", "tiled", "cusolvermg", "cusolvermp"}
        Backend of calls with ``backend="auto"``; ``JAXMG_BACKEND``, "auto" by default.
    log : {"off", "info"}
        "info" logs a line for each call of the native code that is traced, to the logger "jaxmg":
        routine, N, devices, tile, backend, transport, workspace and planned time; ``JAXMG_LOG``,
        "off" by default.
    one_rank_up_to : int or None
        Largest N of a matrix that one device solves for all devices of a call;
        ``JAXMG_ONE_RANK_UP_TO``. None, the default, selects the measured order of each routine
        (see `jaxmg.plan`); 0 makes all devices work.
    refine : {"off", "auto", "float32", "tf32", "fp16x2"}
        Precision of the factor in `jaxmg.linalg.solve` without ``refine=``, where it supports the
        matrix; ``JAXMG_REFINE``, "off" by default.
    timeout_seconds : float
        Timeout of ranks that wait for each other; ``JAXMG_TIMEOUT_SECONDS``, 300 by default.

    Examples
    --------
    >>> import jaxmg
    >>> jaxmg.config.update("timeout_seconds", 60)
    >>> jaxmg.config.timeout_seconds
    60.0
    >>> jaxmg.config.update("timeout_seconds", None)
    >>> with jaxmg.config.using(backend="tiled"):
    ...     jaxmg.config.backend
    'tiled'
    """

    def __init__(self):
        self._set = {}
        self._here = contextvars.ContextVar("jaxmg.config", default=_NOTHING)

    @property
    def backend(self) -> str:
        return self._value("backend")

    @property
    def log(self) -> str:
        return self._value("log")

    @property
    def one_rank_up_to(self) -> int | None:
        return self._value("one_rank_up_to")

    @property
    def refine(self) -> str:
        return self._value("refine")

    @property
    def timeout_seconds(self) -> float:
        return self._value("timeout_seconds")

    def update(self, name: str, value) -> None:
        """Set an option in all threads; None removes the setting.

        Raises
        ------
        ValueError
            If the option does not exist, or the value is invalid.
        """
        self._set[name] = _checked(name, value)

    @contextlib.contextmanager
    def using(self, **values):
        """Set options in this thread within a ``with`` block; raises as `update` does."""
        checked = {name: _checked(name, value) for name, value in values.items()}
        token = self._here.set({**self._here.get(), **checked})
        try:
            yield
        finally:
            self._here.reset(token)

    def origin(self, name: str) -> str | None:
        """Return the source of an option's value: "jaxmg.config", a variable, or None (default)."""
        if any(options.get(name) is not None for options in (self._here.get(), self._set)):
            return "jaxmg.config"
        return _OPTIONS[name].variable if os.environ.get(_OPTIONS[name].variable) else None

    def _value(self, name: str):
        for options in (self._here.get(), self._set):
            if options.get(name) is not None:
                return options[name]
        option = _OPTIONS[name]
        text = os.environ.get(option.variable)
        return option.checked(text, option.variable) if text else option.default

    def __repr__(self) -> str:
        return f"Config({', '.join(f'{name}={self._value(name)!r}' for name in _OPTIONS)})"


def _checked(name: str, value):
    if name not in _OPTIONS:
        raise ValueError(f"the options of jaxmg.config are {tuple(_OPTIONS)}, got {name!r}")
    return None if value is None else _OPTIONS[name].checked(value, name)


def check_variable(name: str, text: str) -> None:
    """Raise ValueError if an environment variable sets its option to an invalid value."""
    for option in _OPTIONS.values():
        if option.variable == name and text:
            option.checked(text, name)


config = Config()
