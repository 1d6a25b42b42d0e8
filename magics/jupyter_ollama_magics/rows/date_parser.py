"""Read dates and times in the formats of models."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

_ISO = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d|\d{8})"
    r"(?:[Tt ]\s*(?P<hour>\d\d)(?::?(?P<minute>\d\d)(?::?(?P<second>\d\d)(?:[.,](?P<part>\d+))?)?)?"
    r"\s*(?P<zone>[Zz]|UTC|GMT|[+\N{MINUS SIGN}-]\d\d(?::?\d\d)?)?)?"
)
_FROM_UTC = re.compile(r"\s*(?:UTC|GMT)\s*([+\N{MINUS SIGN}-])(\d\d?)(?::?(\d\d))?$")
"""An offset from UTC. (dateutil reads it with the opposite sign, as POSIX does.)"""
_PLACE = re.compile(r"\[(?P<name>[^\]]+)\]$")
_NUMBER = re.compile(r"[\d.\s]+")
_UTC = ("Z", "UTC", "GMT")
# Missing parts of a date are taken from these; if the results differ, a part is missing.
_BEGINNINGS = (datetime(2001, 1, 1), datetime(2004, 2, 2))
_ORDERS: tuple[dict[str, bool], ...] = ({}, {"dayfirst": True}, {"yearfirst": True})
_YEAR_FIRST = re.compile(r"\d{4}\D")


def read_moment(text: str) -> pd.Timestamp:
    """Return the time in a text, with its zone, if it has one.

    The text is in ISO 8601 or in another unambiguous format. Raises ValueError.
    """
    place = _PLACE.search(text)
    bare = (text[: place.start()] if place else text).strip()
    bare = _FROM_UTC.sub(lambda zone: f"{zone[1]}{zone[2]:>02}:{zone[3] or '00'}", bare)
    try:
        moment = _iso(bare) or _written(bare)
        if place and moment.tzinfo is None:
            moment = moment.tz_localize(ZoneInfo(place["name"]))
    except (ValueError, OverflowError, LookupError, OSError) as error:
        hint = f": {error}" if isinstance(error, _Doubtful) else ""
        raise ValueError(f"{text!r:.80} is not a date{hint}") from None
    return moment


class _Doubtful(ValueError):
    """The text can be read in several ways."""


def _iso(text: str) -> pd.Timestamp | None:
    found = _ISO.fullmatch(text)
    if not found:
        return None
    date = found["date"] if "-" in found["date"] else _dashed(found["date"])
    clock = ":".join(found[name] or "00" for name in ("hour", "minute", "second"))
    zone = (found["zone"] or "").upper().replace("\N{MINUS SIGN}", "-")
    if zone in _UTC:
        zone = "+00:00"
    elif zone and ":" not in zone:
        zone = f"{zone[:3]}:{zone[3:] or '00'}"
    # Python rejects dates that do not exist; pandas accepts some.
    datetime.fromisoformat(f"{date}T{clock}{zone}")
    part = (found["part"] or "")[:9]
    return pd.Timestamp(f"{date}T{clock}.{part or '0'}{zone}")


def _dashed(date: str) -> str:
    return f"{date[:4]}-{date[4:6]}-{date[6:]}"


def _written(text: str) -> pd.Timestamp:
    """Return the time of a text such as "January 5, 2024 at 3 pm"."""
    from dateutil import parser  # type: ignore[import-untyped]

    if _NUMBER.fullmatch(text) and text.count(".") != 2:
        raise ValueError("a number is not a date")
    try:
        return pd.Timestamp(datetime.fromisoformat(text))  # a week and a day of it, for one
    except ValueError:
        pass
    readings: set[Any] = set()
    for beginning in _BEGINNINGS:
        for order in _ORDERS[:1] if _YEAR_FIRST.match(text) else _ORDERS:
            try:
                readings.add(parser.parse(text, default=beginning, tzinfos=_zone, **order))
            except (ValueError, OverflowError):
                if not order:
                    raise
    if len(readings) != 1:
        raise _Doubtful("it may be several, or does not name all of day, month and year")
    return pd.Timestamp(readings.pop())


def _zone(name: str | None, offset: int | None) -> tzinfo | None:
    """Return the zone that dateutil read. Raises ValueError for names other than UTC."""
    if name is None:
        return None if offset is None else timezone(timedelta(seconds=offset))
    if name in _UTC and not offset:
        return UTC
    raise _Doubtful(f"the time zone {name} is not known")
