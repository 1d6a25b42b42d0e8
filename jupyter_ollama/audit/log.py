"""Writes the audit log: JSON lines, in a thread of its own, one file a day."""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import time
from contextlib import suppress
from io import TextIOWrapper
from logging.handlers import QueueHandler, QueueListener, TimedRotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..scheduler.events import Events
    from ..scheduler.request import ModelRequest

log = logging.getLogger(__name__)

OWN = ("load", "unload", "refuse", "cancel")
"""Events of the server that are written as they are."""


class AuditLog:
    """Appends a line for each request to a model, and for each change.

    Every line has ``time`` (UTC) and ``kind``. Requests never wait for the disk. Lines that cannot
    be written are lost; the server's log names the reason once.
    """

    def __init__(self, path: Path, days: int, events: Events) -> None:
        """Use a file, and keep those of so many days. ``events`` are those of the server."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lines: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._queue = QueueHandler(lines)
        self._file = DayFile(path, days)
        self._listener = QueueListener(lines, self._file)
        self._listener.start()
        events.listeners.append(self._on_event)

    def write(self, kind: str, fields: dict[str, Any]) -> None:
        """Append a line; fields without a value are left out."""
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03}Z"
        known = {name: value for name, value in fields.items() if value not in (None, "", [], ())}
        text = json.dumps({"time": stamp, "kind": kind} | known, ensure_ascii=False)
        self._queue.handle(
            logging.LogRecord("audit", logging.INFO, "", 0, _printable(text), None, None)
        )

    def close(self) -> None:
        """Write the pending lines and close the file."""
        self._listener.stop()
        with suppress(OSError):  # the log has named it
            self._file.close()

    def _on_event(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "finish":
            self.write("request", described(data["request"]))
        elif kind in OWN:
            self.write(kind, data)


class DayFile(TimedRotatingFileHandler):
    """A file that only its owner can read, begun anew each day."""

    def __init__(self, path: Path, days: int) -> None:
        super().__init__(path, when="midnight", backupCount=days, utc=True, delay=True)
        self._has_failed = False

    def _open(self) -> TextIOWrapper:
        def private(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        return open(self.baseFilename, "a", encoding="utf-8", opener=private)

    def handleError(self, record: logging.LogRecord) -> None:
        """Log why lines cannot be written, once."""
        if not self._has_failed:
            self._has_failed = True
            log.error("The audit log cannot be written: %s", sys.exc_info()[1])


def described(request: ModelRequest) -> dict[str, Any]:
    """Return the fields of a request that has ended; it contains no text."""
    return {
        "user": request.user,
        "groups": list(request.groups),
        "path": request.path,
        "id": request.request_id,
        "model": request.model,
        "digest": request.digest,
        "status": request.status,
        "prompt_tokens": request.prompt_tokens,
        "generated_tokens": request.generated_tokens,
        "seconds": round(request.closed - request.opened, 3),
    }


def _printable(text: str) -> str:
    """Escape characters that would end a line or hide text from people who read the log."""
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text)
