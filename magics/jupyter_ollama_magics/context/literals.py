"""Texts of values of known types, bounded in length and depth."""

from __future__ import annotations

import datetime
import decimal
import fractions
import pathlib
import uuid
import zoneinfo
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from .static_types import base_classes, comes_from, type_name

LONGEST = 60
DEPTH = 2
MOST_ITEMS = 5
PANDAS_SCALARS = ("Timestamp", "Timedelta", "NaTType", "NAType", "Period", "Interval")
LONGEST_INT = 256
"""The bits of the longest int whose digits are written."""


def literal(value: object, longest: int = LONGEST, depth: int = DEPTH) -> str:
    """Return the text of a value, or its type in angle brackets if that is not a known one.

    Texts have at most ``longest`` characters, containers ``depth`` levels. Subclasses of known
    types are unknown: their methods may do anything.
    """
    # A metaclass may define the hash of a class, but not its id.
    write = _WRITERS.get(id(type(value)))
    if write is not None:
        return write(value, longest, depth)
    if is_scalar(type(value)):
        return _of_library(value, longest)
    return f"<{type_name(type(value))}>"


def is_scalar(kind: type) -> bool:
    """Return whether a type is one of NumPy's or pandas's scalars."""
    if comes_from(kind, "pandas"):
        return type_name(kind) in PANDAS_SCALARS
    return comes_from(kind, "numpy") and any(
        type_name(base) == "generic" and comes_from(base, "numpy") for base in base_classes(kind)
    )


def _short(value: Any, longest: int, depth: int) -> str:
    text = str(value)
    return text if len(text) <= longest else f"{text[:longest]}…"


def _int(value: Any, longest: int, depth: int) -> str:
    bits = value.bit_length()
    return str(value) if bits <= LONGEST_INT else f"<int of {bits} bits>"


def _text(value: Any, longest: int, depth: int) -> str:
    return repr(value) if len(value) <= longest else f"{value[:longest]!r}… ({len(value)} long)"


def _bytes(value: Any, longest: int, depth: int) -> str:
    return repr(bytes(value)) if len(value) <= 20 else f"{bytes(value[:20])!r}… ({len(value)} long)"


def _time(value: Any, longest: int, depth: int) -> str:
    return value.isoformat() if _has_known_zone(value) else f"<{type_name(type(value))}>"


def _items(opened: str, closed: str) -> Callable[[Any, int, int], str]:
    def write(value: Any, longest: int, depth: int) -> str:
        return _joined(opened, closed, len(value), value, longest, depth)

    return write


def _dict(value: Any, longest: int, depth: int) -> str:
    if depth <= 0 and value:
        return f"{{… {len(value)} items}}"
    pairs = (
        f"{literal(key, longest, depth - 1)}: {literal(one, longest, depth - 1)}"
        for key, one in islice(list(value.items()), MOST_ITEMS)
    )
    return "{" + _counted(list(pairs), len(value)) + "}"


def _joined(
    opened: str, closed: str, length: int, values: Iterable[object], longest: int, depth: int
) -> str:
    if depth <= 0 and length:
        return f"{opened}… {length} items{closed}"
    texts = [literal(one, longest, depth - 1) for one in islice(values, MOST_ITEMS)]
    comma = "," if opened == "(" and length == 1 else ""
    return opened + _counted(texts, length) + comma + closed


def _counted(texts: list[str], length: int) -> str:
    more = [f"… {length - len(texts)} more"] if length > len(texts) else []
    return ", ".join(texts + more)


def _of_library(value: Any, longest: int) -> str:
    """Return the text of a scalar of NumPy or pandas."""
    if hasattr(value, "tzinfo") and not _has_known_zone(value):
        return f"<{type_name(type(value))}>"
    dtype = getattr(value, "dtype", None)
    if dtype is not None and (dtype.hasobject or dtype.names):
        return f"<{type_name(type(value))}>"
    return _short(value, longest, 0)


def _has_known_zone(value: Any) -> bool:
    zone = getattr(value, "tzinfo", None)
    known = (datetime.timezone, zoneinfo.ZoneInfo)
    return (
        zone is None
        or any(type(zone) is one for one in known)
        or comes_from(type(zone), "pytz", "dateutil")
    )


_WRITERS: dict[int, Callable[[Any, int, int], str]] = {
    id(kind): write
    for kinds, write in (
        ((bool, float, complex, type(None), type(Ellipsis), range), _short),
        ((decimal.Decimal, fractions.Fraction, uuid.UUID), _short),
        ((datetime.date, datetime.timedelta), _short),
        ((pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath), _short),
        ((datetime.datetime, datetime.time), _time),
        ((int,), _int),
        ((str,), _text),
        ((bytes, bytearray), _bytes),
        ((list,), _items("[", "]")),
        ((tuple,), _items("(", ")")),
        ((set, frozenset), _items("{", "}")),
        ((dict,), _dict),
    )
    for kind in kinds
}
