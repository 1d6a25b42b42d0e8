"""Files of the kernel's machine that a question refers to."""

from __future__ import annotations

from pathlib import Path

from ..failures import OllamaMagicsError

LONGEST = 20_000
"""The characters of a file that are sent."""


def file_text(path: str) -> str:
    """Return the beginning of a text file. Raises OllamaMagicsError if it cannot be read."""
    try:
        with Path(path).expanduser().open("rb") as file:
            content = file.read(4 * LONGEST + 4)
    except OSError as error:
        raise OllamaMagicsError(f"@file:{path}: {error.strerror}.") from error
    if b"\0" in content:
        raise OllamaMagicsError(
            f"@file:{path} is no text. Send pictures by --image and recordings by --audio."
        )
    text = content.decode("utf-8", "replace")
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n… (the file is longer)"


def matching(begin: str) -> list[str]:
    """Return the paths of files that begin so, without hidden ones; folders end with a slash."""
    folder, _, start = begin.rpartition("/")
    base = Path(folder or ("/" if begin.startswith("/") else ".")).expanduser()
    try:
        found = sorted(base.iterdir(), key=lambda path: path.name)
    except OSError:
        return []
    prefix = begin[: len(begin) - len(start)]
    return [
        f"{prefix}{path.name}{'/' if path.is_dir() else ''}"
        for path in found
        if path.name.startswith(start) and (start[:1] == "." or path.name[0] != ".")
    ]
