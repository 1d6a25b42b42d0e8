"""Numbers, durations and tables as Ollama's command line prints them."""

from __future__ import annotations

from collections.abc import Sequence


def parameter_count(count: int) -> str:
    """Return a number of parameters: 134.52M, 8.0B."""
    for unit, name, digits in ((10**9, "B", 1), (10**6, "M", 2), (10**3, "K", 0)):
        if count >= unit:
            return f"{count / unit:.{digits}f}{name}"
    return str(count)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return lines with columns as wide as their widest cell, four blanks apart."""
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
