"""A runner's end of the connection to its server: two sockets, and standard input."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable

import msgspec
import zmq

from .events import Event
from .protocol import LoadSpec

LINGER = 2000
"""Milliseconds in which the last events may still be sent."""


class ServerConnection:
    """Receives commands and sends events through the sockets in a folder of the server."""

    def __init__(self, folder: str, ping: Callable[[], None]) -> None:
        """Connect. ``ping`` is called whenever the server asks for a sign of life."""
        watch_parent(folder, ping)
        self._context = zmq.Context()
        self.commands: zmq.Socket[bytes] = self._context.socket(zmq.PULL)
        self._events: zmq.Socket[bytes] = self._context.socket(zmq.PUSH)
        for socket, name in ((self.commands, "commands"), (self._events, "events")):
            socket.set_hwm(0)
            socket.connect(f"ipc://{folder}/{name}")
        self._encoder = msgspec.msgpack.Encoder()

    def receive_spec(self) -> LoadSpec:
        """Return the first message."""
        return msgspec.msgpack.decode(self.commands.recv(), type=LoadSpec)

    def send(self, batch: list[Event] | bytes, frames: list[bytes]) -> None:
        """Send events, which may be encoded, and the frames of their embeddings."""
        encoded = batch if isinstance(batch, bytes) else self._encoder.encode(batch)
        self._events.send_multipart([encoded, *frames], copy=False)

    def close(self) -> None:
        """Send the last events and close the sockets."""
        self._context.destroy(linger=LINGER)


def watch_parent(folder: str, ping: Callable[[], None]) -> None:
    """Remove the folder and end this process when standard input closes.

    The parent holds the other end, which closes however the parent ends. A byte on it calls
    ``ping``.
    """

    def watch() -> None:
        # Not sys.stdin: its lock, held by this thread, would abort the interpreter's shutdown.
        while os.read(0, 1024):
            ping()
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def end_with_thread(failure: threading.ExceptHookArgs) -> None:
    """End the process when a thread of it dies: its work would wait for ever."""
    sys.__excepthook__(failure.exc_type, failure.exc_value or SystemExit(), failure.exc_traceback)
    sys.stderr.flush()
    os._exit(1)
