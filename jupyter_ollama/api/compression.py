"""Request bodies that were sent compressed, as their Content-Encoding says."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable
from io import BufferedIOBase, BytesIO

from ..errors import OllamaError

_PIECE = 2**20


Reader = tuple[BufferedIOBase, type[Exception]]
"""What gives a body as it was, and its own kind of error."""


def _gzip(body: bytearray) -> Reader:
    return gzip.GzipFile(fileobj=BytesIO(body)), zlib.error


def _zstd(body: bytearray) -> Reader:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.ZstdFile(BytesIO(body)), zstd.ZstdError


_READERS: dict[str, Callable[[bytearray], Reader]] = {"gzip": _gzip, "zstd": _zstd}


def decompress(body: bytearray, encoding: str, limit: int) -> bytearray:
    """Return a body as it was before compression.

    Raises OllamaError: 400 for what cannot be read, 413 beyond ``limit`` bytes.
    """
    if encoding not in _READERS:
        known = ", ".join(_READERS)
        raise OllamaError(400, f"unsupported content encoding: {encoding} (must be {known})")
    plain = bytearray()
    reader, broken = _READERS[encoding](body)
    try:
        with reader:
            while piece := reader.read(_PIECE):
                plain += piece
                if len(plain) > limit:
                    raise OllamaError(413, "http: request body too large")
    except (OSError, EOFError, broken) as error:
        raise OllamaError(400, f"failed to decompress {encoding} body") from error
    return plain
