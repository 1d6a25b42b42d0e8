"""How sizes, times and tables read, the way Ollama's own command line prints them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

SIZES = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "KB"))
FOREVER = timedelta(days=20 * 365)


def size(count: int) -> str:
    """Return bytes in decimal units with at most one decimal: 4.1 GB, 98 MB, 512 B."""
    for unit, name in SIZES:
        if count >= unit:
            value = count / unit
            text = f"{value:.0f}" if value >= 10 or count % unit == 0 else f"{value:.1f}"
            return f"{text} {name}"
    return f"{count} B"


def parameter_count(count: int) -> str:
    """Return a number of parameters: 134.52M, 8.0B."""
    for unit, name, digits in ((10**9, "B", 1), (10**6, "M", 2), (10**3, "K", 0)):
        if count >= unit:
            return f"{count / unit:.{digits}f}{name}"
    return str(count)


def span(length: timedelta) -> str:
    """Return a length of time in its largest unit, in words."""
    seconds = int(length.total_seconds())
    minutes, hours, days = seconds // 60, round(seconds / 3600), seconds // 86400
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return "1 second" if seconds == 1 else f"{seconds} seconds"
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    for below, unit, name in ((14, 1, "days"), (60, 7, "weeks"), (730, 30, "months")):
        if days < below:
            return f"{days // unit} {name}"
    return f"{days // 365} years"


def moment(text: str, now: datetime | None = None) -> str:
    """Return an RFC 3339 time as seen from now: 2 days ago, 4 minutes from now, Forever."""
    when = datetime.fromisoformat(text)
    distance = when - (now or datetime.now(when.tzinfo))
    if distance > FOREVER:
        return "Forever"
    if distance > timedelta():
        return f"{span(distance)} from now"
    return f"{span(-distance)} ago"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return lines of columns that are as wide as their widest cell, four blanks apart."""
    lines = [heads, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    padded = (map(str.ljust, line, widths) for line in lines)
    return "\n".join("    ".join(cells).rstrip() for cells in padded)


def duration(nanoseconds: int) -> str:
    """Return a duration of the API with a fitting unit: 1.204s, 83.1ms."""
    seconds = nanoseconds / 1e9
    if seconds >= 60:
        return f"{int(seconds) // 60}m{seconds % 60:.3f}s"
    return f"{seconds:.3f}s" if seconds >= 1 else f"{seconds * 1e3:.3f}ms"
