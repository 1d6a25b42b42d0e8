"""The server's end of the connection to a runner: one of two connected sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from ..pipe_messages import MessageBuffer, pack


class RunnerConnection(asyncio.Protocol):
    """Sends commands and takes events; `closed` is done when the runner's end is closed.

    Create it by `open`.
    """

    def __init__(self, take: Callable[[bytes], None]) -> None:
        """``take`` gets each message of the runner."""
        self._take = take
        self._buffer = MessageBuffer()
        self._transport: asyncio.Transport
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, take: Callable[[bytes], None]) -> tuple[RunnerConnection, socket.socket]:
        """Return a connection, and the socket that the runner inherits."""
        here, there = socket.socketpair()
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: cls(take), sock=here)
        return connection, there

    def send(self, message: bytes) -> None:
        """Send a message, after those that the socket has not accepted yet."""
        self._transport.write(pack(message))

    def close(self) -> None:
        """Close at once; messages that were not sent are lost."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Pass complete messages on."""
        for message in self._buffer.take(data):
            self._take(message)

    def connection_lost(self, exc: Exception | None) -> None:
        """Report that no more messages will come."""
        self.closed.set_result(None)
