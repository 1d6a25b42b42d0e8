"""The GGUF file behind a view: its header, metadata values and tensor data."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

from ..library.gguf import Header, InvalidGGUF, array_span, read_entry, read_header
from ..library.regular_file import open_regular
from .errors import LayoutError
from .pieces import Span, Value, array_header


class Source:
    """An open GGUF file. ``is_little_endian`` is whether it can be translated."""

    def __init__(self, path: Path) -> None:
        """Read the header. Raises InvalidGGUF or OSError."""
        self.path = path
        self.header: Header = read_header(path)
        self._file = open_regular(path)
        self._data = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        self.is_little_endian = struct.unpack_from("<I", self._data, 4)[0] in (2, 3)

    @property
    def fd(self) -> int:
        """The file descriptor, for reads at an offset."""
        return self._file.fileno()

    def close(self) -> None:
        """Close the file; nothing can be read afterwards."""
        self._data.close()
        self._file.close()

    def read(self, span: Span) -> bytes:
        """Return bytes of the file. Raises LayoutError if the file ends before them."""
        if span.offset + span.size > len(self._data):
            raise LayoutError("the file ends within its tensors")
        return self._data[span.offset : span.offset + span.size]

    def stored(self, key: str) -> Value:
        """Return a metadata value as encoded in the file."""
        begin, end = self.header.spans[key]
        (length,) = struct.unpack_from("<Q", self._data, begin)
        start = begin + 8 + length
        return Value(
            (Span(start, end - start),),
            self.header.metadata[key],
            self.header.lengths.get(key),
            key,
        )

    def array(self, key: str) -> list[Any]:
        """Read an array. Raises LayoutError if the value of ``key`` is not an array."""
        begin, _ = self.header.spans[key]
        try:
            value = read_entry(self._data, begin)
        except InvalidGGUF as error:
            raise LayoutError(f"{key}: {error}") from None
        if not isinstance(value, list):
            raise LayoutError(f"{key} is not an array")
        return value

    def shortened(self, key: str, length: int) -> Value:
        """Return the first ``length`` elements of a stored array."""
        begin, _ = self.header.spans[key]
        element, start, end = array_span(self._data, begin, length)
        return Value((array_header(element, length), Span(start, end - start)), None, length, key)
