"""Decompression of request bodies by their Content-Encoding."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from typing import NamedTuple

from ..errors import OllamaError
from .decoding import TOO_LARGE

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_CHUNK = 2**16
_PIECE = 2**18
_ANY_RATIO = 2**20
"""The size that a body of any ratio may reach: short texts of one letter are no attack."""
_GZIP = 16 + zlib.MAX_WBITS
"""zlib's number for a gzip header and the largest window that the format has."""
_ZSTD_WINDOW = 23
"""The largest window that RFC 9659 allows for this Content-Encoding, 8 MiB, as a power of two."""


class DecompressionLimits(NamedTuple):
    """The bounds of a decompressed body: ``size`` bytes, and ``ratio`` bytes per compressed byte.

    ``members`` is the number of concatenated compressed texts.
    """

    size: int
    ratio: int
    members: int


class _Gzip:
    """A member of a gzip body, with the interface of ``zstd.ZstdDecompressor``."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(_GZIP)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        # Zeros may follow the last member.
        return self._inner.unused_data.lstrip(b"\0")


def _zstd() -> zstd.ZstdDecompressor:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW})


_MEMBERS: dict[str, Callable[[], _Gzip | zstd.ZstdDecompressor]] = {"gzip": _Gzip, "zstd": _zstd}


def decompress(
    body: bytes | bytearray,
    encoding: str,
    bounds: DecompressionLimits,
    hold: Callable[[int], None] = lambda size: None,
) -> bytearray:
    """Return a body as it was before compression.

    ``hold`` is called with each size before its memory is allocated. Raises OllamaError: 400 for an
    invalid body, 413 beyond the bounds, which are never exceeded.
    """
    if encoding not in _MEMBERS:
        known = ", ".join(_MEMBERS)
        raise OllamaError(400, f"unsupported content encoding: {encoding} (must be {known})")
    try:
        return _decompress(body, _MEMBERS[encoding], bounds, hold)
    except (EOFError, zlib.error, zstd.ZstdError) as error:
        raise OllamaError(400, f"failed to decompress {encoding} body") from error


def _decompress(
    body: bytes | bytearray,
    start_member: Callable[[], _Gzip | zstd.ZstdDecompressor],
    bounds: DecompressionLimits,
    hold: Callable[[int], None],
) -> bytearray:
    plain = bytearray()
    most = max(_ANY_RATIO, bounds.ratio * len(body))
    member, members = start_member(), 1
    view = memoryview(body)
    for start in range(0, len(view), _CHUNK):
        data = bytes(view[start : start + _CHUNK])
        while data or not (member.needs_input or member.eof):
            if member.eof:
                member, members = start_member(), members + 1
                if members > bounds.members:
                    raise OllamaError(413, f"more than {bounds.members} compressed texts in a body")
            piece = member.decompress(data, _PIECE)
            data = member.unused_data if member.eof else b""
            if len(plain) + len(piece) > bounds.size:
                raise OllamaError(413, TOO_LARGE)
            if len(plain) + len(piece) > most:
                text = f"the body is compressed to less than 1/{bounds.ratio} of its size"
                raise OllamaError(413, text)
            hold(len(plain) + len(piece))
            plain += piece
    if not member.eof:
        raise EOFError
    return plain
