"""Forms with files (``multipart/form-data``)."""

from __future__ import annotations

import mmap
import re
import secrets
from contextlib import ExitStack
from tempfile import SpooledTemporaryFile
from typing import IO, NamedTuple

from tornado.httputil import HTTPFile, HTTPInputError, parse_multipart_form_data

from ..errors import OllamaError
from ..flow_control.body_budget import BodyReservation
from .decoding import TOO_LARGE
from .endpoint import BufferedBody

_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]+)"|([^\s;]+))', re.IGNORECASE)
_FAILED = "failed to parse multipart form: "
_IN_MEMORY = 2**20
_LONG = 2**16
_PIECE = 2**20
_COPIES = 4
"""The copies of a file in memory on its way to a model: bytes, base64, message."""


class FormFile(NamedTuple):
    """The fields of a form, and the name and size in bytes of the file in it."""

    fields: dict[str, list[str]]
    filename: str
    size: int


class Form(BufferedBody):
    """The body of a form, at most ``limit`` bytes: in a file if it is long."""

    def __init__(self, limit: int, account: BodyReservation | None = None) -> None:
        super().__init__(limit, account)
        self._file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed after the request
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Append bytes. Raises OllamaError(413) beyond the limit."""
        self.size += len(chunk)
        if self.size > self.limit:
            raise OllamaError(413, TOO_LARGE)
        self._file.write(chunk)

    def decompress(self, encoding: str, ratio: int, members: int) -> None:
        """Undo a compression. Raises OllamaError: 400 if that fails, 413 beyond the bounds."""
        self._hold(self.size)
        self._file.seek(0)
        self.data = bytearray(self._file.read())
        super().decompress(encoding, ratio, members)
        self._file.seek(0)
        self._file.truncate()
        self._file.write(self.data)
        self.size, self.data = len(self.data), bytearray()

    def read(self, content_type: str) -> tuple[dict[str, list[str]], dict[str, bytes]]:
        """Return the fields and the files. Raises OllamaError(400 or 503)."""
        self._hold(_COPIES * self.size)
        with ExitStack() as stack:
            if self.size > _IN_MEMORY:
                self._file.flush()
                body = mmap.mmap(self._file.fileno(), self.size, access=mmap.ACCESS_READ)
                return parse_form(content_type, stack.enter_context(body))
            self._file.seek(0)
            return parse_form(content_type, self._file.read())

    def copy_file(self, content_type: str, name: str, target: IO[bytes]) -> FormFile:
        """Write a file of the form to ``target``, a piece at a time. Raises OllamaError(400)."""
        self._file.flush()
        self._file.seek(0)
        with ExitStack() as stack:
            body: bytes | mmap.mmap = b""
            if self.size > _IN_MEMORY:
                mapped = mmap.mmap(self._file.fileno(), self.size, access=mmap.ACCESS_READ)
                body = stack.enter_context(mapped)
            else:
                body = self._file.read()
            fields, files, spans = _parsed(content_type, body)
            if name not in files:
                raise OllamaError(400, f"{name} is required")
            found = files[name][0]
            start, end = spans.get(found.body, (0, 0))
            if not end:
                target.write(found.body)
            for at in range(start, end, _PIECE):
                target.write(body[at : min(at + _PIECE, end)])
        return FormFile(fields, found.filename, end - start if end else len(found.body))

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
        super().close()


def parse_form(
    content_type: str, body: bytes | mmap.mmap
) -> tuple[dict[str, list[str]], dict[str, bytes]]:
    """Return the fields and the files of a form, by name; of two files the first counts.

    Raises OllamaError(400) with the texts of Go, which Ollama's clients know.
    """
    texts, files, spans = _parsed(content_type, body)
    return texts, {key: _whole(found[0].body, body, spans) for key, found in files.items()}


def _parsed(
    content_type: str, body: bytes | mmap.mmap
) -> tuple[dict[str, list[str]], dict[str, list[HTTPFile]], dict[bytes, tuple[int, int]]]:
    """Return the fields, the files, and where in the body the contents of long files are."""
    if not content_type.lower().startswith("multipart/form-data"):
        raise OllamaError(400, _FAILED + "request Content-Type isn't multipart/form-data")
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise OllamaError(400, _FAILED + "no multipart boundary param in Content-Type")
    fields: dict[str, list[bytes]] = {}
    files: dict[str, list[HTTPFile]] = {}
    try:
        name = (boundary[1] or boundary[2]).encode("latin-1")
        short, spans = _shortened(name, body)
        parse_multipart_form_data(name, short, fields, files)
        texts = {
            key: [_whole(value, body, spans).decode() for value in values]
            for key, values in fields.items()
        }
    except (HTTPInputError, ValueError) as error:
        raise OllamaError(400, f"{_FAILED}{error}") from None
    return texts, files, spans


def _shortened(
    boundary: bytes, body: bytes | mmap.mmap
) -> tuple[bytes, dict[bytes, tuple[int, int]]]:
    """Return a form with marks in place of long contents, and where these are in the whole.

    Tornado, which parses it, would copy them several times.
    """
    mark = secrets.token_hex(16)
    short = bytearray()
    spans: dict[bytes, tuple[int, int]] = {}
    at, end = 0, 0
    while end >= 0:
        start = body.find(b"\r\n\r\n", at)
        end = body.find(b"\r\n--" + boundary, start) if start >= 0 else -1
        if end - start > _LONG:
            content = f"{mark}-{len(spans)}".encode()
            spans[content] = (start + 4, end)
            short += body[at : start + 4] + content
        else:
            short += body[at:end] if end >= 0 else body[at:]
        at = end
    return bytes(short), spans


def _whole(content: bytes, body: bytes | mmap.mmap, spans: dict[bytes, tuple[int, int]]) -> bytes:
    start, end = spans.get(content, (0, 0))
    return body[start:end] if end else content
