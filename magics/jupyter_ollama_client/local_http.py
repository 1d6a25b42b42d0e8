"""HTTP requests to a server on this machine, where the client's processor time is the model's.

The requests of rows are many and small. A general HTTP client takes 1 ms of processor time for
each of them, this one 0.2: it knows POST, plain HTTP/1.1, TCP and Unix sockets, and no more.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import httpx2

LONGEST_HEAD = 1 << 18
"""The most bytes of a response before its body."""

BODILESS = {204, 304}


class BadResponse(Exception):
    """The server has ended the connection within a response, or its response is not HTTP."""


class LocalHTTP:
    """Posts requests from coroutines of one event loop; cancelling one closes its connection.

    Parameters
    ----------
    url : str
        The address of the server, by plain HTTP.
    socket : str or None
        The path of the server's Unix socket.
    headers : mapping
        The headers of every request.
    timeout : float
        Seconds to wait for a connection.
    """

    def __init__(
        self, url: str, socket: str | None, headers: Mapping[str, str], timeout: float
    ) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._path = parts.path.rstrip("/")
        self._socket = socket
        self._timeout = timeout
        host = parts.netloc.rpartition("@")[2]
        self._headers = {"Host": host, "Content-Type": "application/json", **headers}
        if any(end in value for value in self._headers.values() for end in "\r\n"):
            raise ValueError("a header has a line break")
        self._free: list[_Connection] = []

    async def post(self, path: str, content: bytes, headers: Mapping[str, str]) -> httpx2.Response:
        """Return the response to a request, read to its end.

        Raises OSError if the server cannot be reached, BadResponse.
        """
        connection = self._kept() or await self._connect()
        try:
            response, again = await connection.post(
                self._path + path, content, {**self._headers, **headers}
            )
        except BaseException:
            connection.abort()
            raise
        if again:
            self._free.append(connection)
        else:
            connection.abort()
        return response

    def close(self) -> None:
        """Close the connections that no request uses."""
        while self._free:
            self._free.pop().abort()

    def _kept(self) -> _Connection | None:
        while self._free:
            connection = self._free.pop()
            if not connection.ended:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> _Connection:
        try:
            async with asyncio.timeout(self._timeout):
                if self._socket:
                    streams = await asyncio.open_unix_connection(self._socket, limit=LONGEST_HEAD)
                else:
                    streams = await asyncio.open_connection(
                        self._host, self._port, limit=LONGEST_HEAD
                    )
        except TimeoutError:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from None
        except OSError as error:
            # asyncio names the address, and all addresses of a host that has several.
            code = errno.ECONNREFUSED if error.errno is None else error.errno
            raise (OSError(code, os.strerror(code)) if code > 0 else error) from None
        return _Connection(*streams)


class _Connection:
    """A connection that one request uses at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @property
    def ended(self) -> bool:
        """Whether the server has closed the connection."""
        return self._reader.at_eof() or self._writer.is_closing()

    def abort(self) -> None:
        """Close the connection at once."""
        self._writer.transport.abort()

    async def post(
        self, path: str, content: bytes, headers: Mapping[str, str]
    ) -> tuple[httpx2.Response, bool]:
        """Return the response, and whether the connection can be used again."""
        import httpx2

        lines = [f"POST {path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(content)}", "", ""]
        self._writer.write("\r\n".join(lines).encode("latin-1") + content)
        try:
            await self._writer.drain()
            status, reason, fields = await self._head()
            body, again = await self._body(status, fields)
        except (EOFError, asyncio.LimitOverrunError, ValueError) as error:
            raise BadResponse(str(error) or "the server closed the connection") from error
        extensions = {"reason_phrase": reason}
        response = httpx2.Response(status, headers=fields, content=body, extensions=extensions)
        return response, again and fields.get("connection", "").lower() != "close"

    async def _head(self) -> tuple[int, bytes, dict[str, str]]:
        """Return the status, its reason and the header fields by names in small letters."""
        while True:
            head = await self._reader.readuntil(b"\r\n\r\n")
            first, *lines = head[:-4].split(b"\r\n")
            version, _, rest = first.partition(b" ")
            if not version.startswith(b"HTTP/1."):
                raise ValueError("the server does not speak HTTP")
            status, _, reason = rest.partition(b" ")
            if int(status) >= 200:
                break
        fields: dict[str, str] = {}
        for line in lines:
            name, _, value = line.decode("latin-1").partition(":")
            fields[name.strip().lower()] = value.strip()
        if version == b"HTTP/1.0":
            fields.setdefault("connection", "close")
        return int(status), reason, fields

    async def _body(self, status: int, fields: dict[str, str]) -> tuple[bytes, bool]:
        """Return the body, and whether it ended before the connection did."""
        if status in BODILESS:
            return b"", True
        if fields.pop("transfer-encoding", "").lower() == "chunked":
            return await self._chunks(), True
        if "content-length" in fields:
            return await self._reader.readexactly(int(fields["content-length"])), True
        return await self._reader.read(), False

    async def _chunks(self) -> bytes:
        pieces = []
        while size := int((await self._reader.readuntil(b"\r\n")).partition(b";")[0], 16):
            pieces.append(await self._reader.readexactly(size))
            await self._reader.readexactly(2)
        while (await self._reader.readuntil(b"\r\n")).strip():
            pass  # trailing header fields
        return b"".join(pieces)
