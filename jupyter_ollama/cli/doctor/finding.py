"""The result of one check."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Level(StrEnum):
    """How a check ended. Only an error keeps something from working."""

    OK = "ok"
    NOTE = "note"
    ERROR = "error"


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one check found; ``advice`` is what the user can do about it, in whole lines."""

    check: str
    level: Level
    text: str
    advice: str = ""


def ok(check: str, text: str) -> Finding:
    """Return the finding of a check that found no fault."""
    return Finding(check, Level.OK, text)


def note(check: str, text: str, advice: str = "") -> Finding:
    """Return a finding that limits something or may surprise."""
    return Finding(check, Level.NOTE, text, advice)


def error(check: str, text: str, advice: str) -> Finding:
    """Return a finding that keeps something from working."""
    return Finding(check, Level.ERROR, text, advice)
