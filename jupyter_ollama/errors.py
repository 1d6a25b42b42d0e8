"""The error that every package raises, and the redaction of paths in the texts of errors."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePath

_BLOB = re.compile(r"(?<![^\s'\"(,])[^\s'\"(,]*[/\\]sha256[-:]([0-9a-f]{64})[\w.-]*")
_PACKAGE = Path(__file__).parent


class OllamaError(Exception):
    """An error that a client sees as ``{"error": message}`` with the HTTP status ``status``."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def one_line(value: object) -> str:
    """Return a foreign text for one line of the log, control characters escaped."""
    text = str(value)[:500]
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


class PathRedactor:
    """Removes paths of the server from texts; ``folders`` are added to the usual ones."""

    def __init__(self, folders: Iterable[str]) -> None:
        given = [Path(folder).expanduser() for folder in folders if folder]
        given += [Path(tempfile.gettempdir()), _PACKAGE, Path(sys.prefix), Path(sys.base_prefix)]
        given.append(Path.home())
        known = {str(one) for path in given for one in (path.absolute(), path.resolve())}
        roots = sorted((root for root in known if len(root) > 1), key=len, reverse=True)
        names = "|".join(map(re.escape, roots))
        # A folder does not begin inside another path or address.
        self._path = re.compile(rf"(?<![\w.:/\\-])(?:{names})(?![\w.-])[^\s'\",;:)\]]*")

    def redact(self, text: str) -> str:
        """Return a text with digests in place of paths of blobs, and names of other files."""
        text = _BLOB.sub(r"sha256:\1", text)
        return self._path.sub(lambda found: PurePath(found[0]).name, text)
