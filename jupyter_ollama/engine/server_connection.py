"""A runner's end of the connection to its server: a socket, and standard input."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable

import msgspec

from ..pipe_messages import MessageBuffer, pack
from .events import Event
from .protocol import LoadSpec

READ_BYTES = 2**18
"""The most bytes of one read of the socket."""


class ServerConnection:
    """Receives commands and sends events; one thread at a time does each."""

    def __init__(self, descriptor: int, ping: Callable[[], None]) -> None:
        """Take the socket that this process inherited.

        ``ping`` is called whenever the server asks for a sign of life.
        """
        watch_parent(ping)
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._buffer = MessageBuffer()
        self._received: deque[bytes] = deque()
        self._encoder = msgspec.msgpack.Encoder()

    def receive_spec(self) -> LoadSpec:
        """Return the first message."""
        return msgspec.msgpack.decode(self.receive(), type=LoadSpec)

    def receive(self) -> bytes:
        """Wait for the next command."""
        while not self._received:
            self._read(0)
        return self._received.popleft()

    def receive_present(self) -> list[bytes]:
        """Return the commands that have arrived."""
        try:
            while True:
                self._read(socket.MSG_DONTWAIT)
        except BlockingIOError:
            present = [*self._received]
            self._received.clear()
            return present

    def _read(self, flags: int) -> None:
        data = self._socket.recv(READ_BYTES, flags)
        if not data:
            os._exit(0)  # the server has ended
        self._received += self._buffer.take(data)

    def send(self, batch: list[Event] | bytes) -> None:
        """Send events, which may be encoded."""
        encoded = batch if isinstance(batch, bytes) else self._encoder.encode(batch)
        try:
            self._socket.sendall(pack(encoded))
        except (BrokenPipeError, ConnectionResetError):
            os._exit(0)  # the server has ended


def watch_parent(ping: Callable[[], None]) -> None:
    """End this process when standard input closes.

    The parent holds the other end, which closes however the parent ends. A byte on it calls
    ``ping``.
    """

    def watch() -> None:
        # Not sys.stdin: its lock, held by this thread, would abort the interpreter's shutdown.
        while os.read(0, 1024):
            ping()
        os._exit(0)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def end_with_thread(failure: threading.ExceptHookArgs) -> None:
    """End the process when a thread of it dies: its work would wait for ever."""
    sys.__excepthook__(failure.exc_type, failure.exc_value or SystemExit(), failure.exc_traceback)
    sys.stderr.flush()
    os._exit(1)
