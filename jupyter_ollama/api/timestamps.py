"""Times as Go writes them: RFC 3339, up to nine fractional digits, trailing zeros cut."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now_utc() -> str:
    """Format the present moment in UTC to the nanosecond."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{nanoseconds:09d}".rstrip("0").rstrip(".")
    return f"{text}{fraction}Z"


def rfc3339(time: datetime) -> str:
    """Write an aware time as Go does: no trailing zeros in the fraction, Z for UTC."""
    text = time.strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{time.microsecond:06d}".rstrip("0").rstrip(".")
    offset = time.strftime("%z")
    zone = "Z" if offset in ("+0000", "-0000") else f"{offset[:3]}:{offset[3:5]}"
    return text + fraction + zone
