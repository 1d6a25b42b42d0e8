"""Ollama's environment variables, settings that default to them, and the trait of durations."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from typing import Any, TypeVar

from traitlets import TraitType, Undefined

from .child_environment import is_off
from .durations import parse_duration

log = logging.getLogger(__name__)

T = TypeVar("T", bound=TraitType[Any, Any])
D = TypeVar("D")


def seconds(value: float | str) -> float:
    """Return the seconds of a number or a Go duration; a negative one is math.inf.

    Raises ValueError.
    """
    try:
        number = float(value)
    except ValueError:
        number = parse_duration(str(value))
    if math.isnan(number):
        raise ValueError("not a number of seconds")
    return math.inf if number < 0 else number


class Duration(TraitType[float, float | str]):
    """Seconds, set as a number or as a Go duration such as "5m"; a negative one is math.inf."""

    info_text = 'a number of seconds or a duration such as "5m"'

    def validate(self, obj: Any, value: Any) -> float:
        """Return the seconds. Raises TraitError."""
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            try:
                return seconds(value)
            except ValueError:
                pass
        self.error(obj, value)
        raise AssertionError("unreachable")

    def from_string(self, s: str) -> float:
        """Read the value of a command line."""
        return self.validate(None, s)


def from_variable(
    trait: T,
    name: str,
    otherwise: D,
    read: Callable[[str, D], D],
    *,
    shown: str | None = None,
    brief: str = "",
) -> T:
    """Make a trait a setting whose default comes from an environment variable.

    ``read(name, otherwise)`` returns the default. In the help of the setting ``shown`` describes
    ``otherwise``; ``brief`` is the line for it in ``jupyter ollama serve --help``.
    """
    shown = f"or {otherwise}" if shown is None else shown
    trait.help = f"{trait.help} Default: {name}{', ' if shown else ''}{shown}."
    trait.default_value = Undefined  # traitlets would not call `default` for constants
    trait.default = lambda obj=None: read(name, otherwise)  # type: ignore[method-assign]
    trait.default_value_repr = lambda: repr(otherwise)  # type: ignore[method-assign]
    return trait.tag(config=True, variable=name, brief=brief)


def variable(name: str, otherwise: str = "") -> str:
    """Return an environment variable without the spaces and quotes around it."""
    return os.environ.get(name, "").strip().strip("\"'").strip() or otherwise


def list_variable(name: str, otherwise: list[str]) -> list[str]:
    """Return the items of an environment variable, separated by commas."""
    return [text.strip() for text in variable(name).split(",") if text.strip()] or otherwise.copy()


def int_variable(name: str, otherwise: int) -> int:
    """Return an integer of the environment; an invalid one is logged."""
    text = variable(name)
    if text and not (text.isascii() and text.isdigit()):
        log.warning("%s=%r is not a whole number, %d is used", name, text, otherwise)
        return otherwise
    return int(text or otherwise)


def duration_variable(name: str, otherwise: float) -> float:
    """Return the seconds of a duration of the environment; an invalid one is logged."""
    text = variable(name)
    try:
        return seconds(text) if text else otherwise
    except ValueError as error:
        log.warning("%s: %s, %g s is used", name, error, otherwise)
        return otherwise


def optional_bool_variable(name: str, otherwise: bool | None) -> bool | None:
    """Return a boolean of the environment; as in Ollama any unknown text is true."""
    text = variable(name)
    return not is_off(text) if text else otherwise


def bool_variable(name: str, otherwise: bool) -> bool:
    """Return a boolean of the environment, never None."""
    return bool(optional_bool_variable(name, otherwise))
