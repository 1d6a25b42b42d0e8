"""The values of ``--think`` on a command line and in a magic."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Any

LEVELS = ("low", "medium", "high", "max")


def think_value(text: str) -> Any:
    """Return the ``think`` of a request for "true", "false", a level or a number of tokens.

    Raises ArgumentTypeError for anything else.
    """
    known = {"true": True, "false": False} | {level: level for level in LEVELS}
    if text in known:
        return known[text]
    if text.isdecimal():
        return {"budget": int(text)}
    raise ArgumentTypeError(f"{text!r} is neither a number of tokens nor one of {', '.join(known)}")
