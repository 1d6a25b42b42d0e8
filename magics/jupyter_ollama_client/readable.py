"""Sizes and times for people, formatted as Ollama's command line does."""

from __future__ import annotations

from datetime import datetime, timedelta

SIZES = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "KB"))
FOREVER = timedelta(days=20 * 365)


def size(count: int) -> str:
    """Return a number of bytes in decimal units with at most one decimal.

    Examples
    --------
    >>> size(4_100_000_000), size(512)
    ('4.1 GB', '512 B')
    """
    for unit, name in SIZES:
        if count >= unit:
            value = count / unit
            text = f"{value:.0f}" if value >= 10 or count % unit == 0 else f"{value:.1f}"
            return f"{text} {name}"
    return f"{count} B"


def moment(text: str | None) -> datetime | None:
    """Return the time of an ISO 8601 text, None for another text."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def span(length: timedelta) -> str:
    """Return a length of time in words, in its largest unit.

    Examples
    --------
    >>> span(timedelta(hours=5)), span(timedelta(seconds=1))
    ('5 hours', '1 second')
    """
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


def age(when: datetime | None, now: datetime | None = None) -> str:
    """Return a time relative to ``now``, "" for None and "Forever" for the distant future.

    Examples
    --------
    >>> age(datetime(2025, 1, 1), now=datetime(2025, 1, 3))
    '2 days ago'
    """
    if when is None:
        return ""
    distance = when - (now or datetime.now(when.tzinfo))
    if distance > FOREVER:
        return "Forever"
    if distance > timedelta():
        return f"{span(distance)} from now"
    return f"{span(-distance)} ago"


def expiry(when: datetime | None) -> str:
    """Return the time until a model is unloaded."""
    if when is not None and when < datetime.now(when.tzinfo):
        return "Stopping..."
    return age(when)
