"""Ollama's variables of the environment, and the trait for durations as they have them."""

from __future__ import annotations

import logging
import math
import os
from typing import Any

from traitlets import TraitType

from .api.durations import parse_duration

log = logging.getLogger(__name__)

_FALSE = {"0", "f", "false"}


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
    """Seconds, settable as a number or as a Go duration such as "5m"; below zero is for ever."""

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


def variable(name: str) -> str:
    """Return an environment variable without spaces and quotes around it, "" if it is not set."""
    return os.environ.get(name, "").strip().strip("\"'").strip()


def int_variable(name: str, otherwise: int) -> int:
    """Return a whole number of the environment; of a faulty one the log tells."""
    text = variable(name)
    if text and not (text.isascii() and text.isdigit()):
        log.warning("%s=%r is no whole number, %d is used", name, text, otherwise)
        return otherwise
    return int(text or otherwise)


def duration_variable(name: str, otherwise: float) -> float:
    """Return the seconds of a duration of the environment; of a faulty one the log tells."""
    text = variable(name)
    try:
        return seconds(text) if text else otherwise
    except ValueError as error:
        log.warning("%s: %s, %g s is used", name, error, otherwise)
        return otherwise


def bool_variable(name: str, otherwise: bool | None) -> bool | None:
    """Return a yes or no of the environment."""
    text = variable(name).lower()
    if not text:
        return otherwise
    return text not in _FALSE  # Ollama takes any other text for a yes
