"""The rows of a batch: the lines of its input file, checked before the first one is sent."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import msgspec

MOST_ERRORS = 100
"""The errors of an input file that are listed."""

LONGEST_ID = 512
"""The characters of a custom_id."""


class InputLine(msgspec.Struct):
    """A row: the request, and the id by which its sender finds the answer."""

    custom_id: str = ""
    method: str = ""
    url: str = ""
    body: msgspec.Raw = msgspec.Raw()


class _Body(msgspec.Struct):
    stream: Any = None


class LineError(msgspec.Struct):
    """A fault of an input file, as OpenAI's API lists them; ``line`` counts from 1."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class InputLines:
    """The lines of an input file: where each begins, and what is wrong with the file.

    ``starts`` are the offsets of the lines that are not blank; the offsets of their ends follow
    from ``_decode``, which reads one line.
    """

    def __init__(self, path: Path, endpoint: str, most_lines: int, most_bytes: int) -> None:
        """Read the file; takes some 3 µs a line. Raises OSError."""
        self.errors: list[LineError] = []
        self.numbers = array("Q")
        self._path = path
        self._starts = array("Q")
        self._endpoint = endpoint
        self._ids: set[str] = set()
        at = 0
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    self._check(number, line, most_bytes)
                    self.numbers.append(number)
                    self._starts.append(at)
                at += len(line)
                if len(self._starts) > most_lines:
                    message = f"the file has more than {most_lines} lines"
                    self.errors = [LineError("too_many_tasks", message)]
                    return
        self._ids.clear()
        if not self._starts:
            self.errors.append(LineError("empty_file", "the file has no lines"))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._starts)

    def read(self, index: int) -> InputLine:
        """Return a row. Raises OSError or msgspec.DecodeError if the file has changed."""
        with self._path.open("rb") as file:
            file.seek(self._starts[index])
            return _decoder.decode(file.readline())

    def _check(self, number: int, line: bytes, most_bytes: int) -> None:
        if len(self.errors) >= MOST_ERRORS:
            return
        for error in self._faults(line, most_bytes):
            self.errors.append(LineError(error[0], error[1], number, error[2]))

    def _faults(self, line: bytes, most_bytes: int) -> list[tuple[str, str, str | None]]:
        try:
            row = _decoder.decode(line)
            is_object = bytes(row.body).startswith(b"{")
            body = _body_decoder.decode(row.body) if is_object else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return [("invalid_json_line", f"the line is no request as JSON: {error}", None)]
        found: list[tuple[str, str, str | None]] = []
        if not row.custom_id:
            found.append(_missing("custom_id", "a text that names the row"))
        elif len(row.custom_id) > LONGEST_ID:
            message = f"custom_id has more than {LONGEST_ID} characters"
            found.append(("invalid_custom_id", message, "custom_id"))
        elif row.custom_id in self._ids:
            message = f"custom_id {row.custom_id!r:.100} comes twice"
            found.append(("duplicate_custom_id", message, "custom_id"))
        self._ids.add(row.custom_id)
        if row.method.upper() != "POST":
            found.append(("invalid_method", 'method must be "POST"', "method"))
        if row.url != self._endpoint:
            message = f"url {row.url!r:.100} is not the endpoint of the batch, {self._endpoint!r}"
            found.append(("invalid_url", message, "url"))
        if body is None:
            found.append(_missing("body", "the JSON object of the request"))
        elif body.stream:
            message = "the rows of a batch are answered whole: leave stream out"
            found.append(("invalid_request", message, "body.stream"))
        if len(line) > most_bytes:
            message = f"the line has more than {most_bytes} bytes, the most of a request"
            found.append(("line_too_long", message, None))
        return found


def _missing(name: str, what: str) -> tuple[str, str, str]:
    return "missing_required_parameter", f"{name} is missing: {what}", name


_decoder = msgspec.json.Decoder(InputLine)
_body_decoder = msgspec.json.Decoder(_Body)
