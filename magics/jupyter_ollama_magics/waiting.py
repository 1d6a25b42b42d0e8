"""Show the state of a request and the time waited until its answer begins."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from jupyter_ollama_client.errors import OllamaClientError
from jupyter_ollama_client.readable import size

from .names import tagged

if TYPE_CHECKING:
    from .connection import Connection
    from .result import ChatResult

PATIENCE = 0.3
"""Seconds without an answer before the state of the request is shown."""

MOVED, QUEUE_PATIENCE = 0.5, 1.0
"""The same for a place in the queue, which may change at once: after a new place, and without
one."""

SILENT_PATIENCE = 2.0
"""The same for a server without status lines, such as Ollama."""

REQUEST_SIZE_AFTER = 0.05
"""Seconds before the size of the model is requested, so that it arrives in time."""

QUICK, PATIENT = 0.2, 2.0
"""The timeout of that request in seconds, before the state is first shown and later."""


def waiting_for(chunk: dict[str, Any]) -> str:
    """Return a status line of the server as text for users."""
    place = chunk.get("position")
    if reason := chunk.get("reason"):
        return f"waiting: {reason}"
    if chunk["status"] == "queued" and place:
        ending = {1: "st", 2: "nd", 3: "rd"}.get(place % 10 if place // 10 % 10 != 1 else 0, "th")
        return f"waiting, {place}{ending} in line"
    if chunk["status"] == "prompt" and chunk.get("total"):
        return f"reading the prompt, {100 * chunk.get('completed', 0) // chunk['total']} %"
    status: str = chunk["status"]
    return {"loading": "loading the model"}.get(status, status)


class Waiting:
    """Calls ``draw`` for a result without text, once a second and at each change of its state.

    The thread of the cell is blocked by the request, so another thread draws.
    """

    def __init__(self, draw: Callable[[ChatResult], None]) -> None:
        self._draw = draw
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._over.set()
        self._result: ChatResult | None = None
        self._chunk: dict[str, Any] = {}
        self._bytes = 0
        self._began = self._first = 0.0

    def begin(self, result: ChatResult, connection: Connection) -> None:
        """Start to wait; each round of an answer waits again."""
        with self._lock:
            self._over = over = threading.Event()
            self._result, self._connection = result, connection
            self._chunk, self._bytes = {}, 0
            self._began, self._first = time.monotonic(), 0.0
        # A message belongs to the cell whose context it is sent in.
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._run, over), daemon=True).start()

    def take(self, chunk: dict[str, Any]) -> None:
        """Record a status line; show it now if the wait has been long enough."""
        with self._lock:
            self._first = self._first or time.monotonic()
            self._chunk = chunk
            if not self._over.is_set() and self._is_due(MOVED):
                self._show()

    @contextmanager
    def over(self) -> Iterator[None]:
        """End the wait; nothing else is drawn during the block."""
        with self._lock:
            self._over.set()
            if self._result is not None:
                self._result.waits = ""
            yield

    def _run(self, over: threading.Event) -> None:
        if over.wait(REQUEST_SIZE_AFTER):
            return
        self._request_size(QUICK)
        over.wait(max(0.0, PATIENCE - self._seconds()))
        while not over.is_set():
            with self._lock:
                if over.is_set():
                    return
                if self._is_due(QUEUE_PATIENCE):
                    self._show()
                wait = 1.0 - self._seconds() % 1.0
            if not self._bytes:
                self._request_size(PATIENT)
            over.wait(wait)

    def _is_due(self, queue_patience: float) -> bool:
        """Return whether the wait has been long enough to show the state."""
        if not self._chunk:
            return self._seconds() >= SILENT_PATIENCE
        if self._chunk["status"] == "queued":
            return time.monotonic() - self._first >= queue_patience
        return self._seconds() >= PATIENCE

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _show(self) -> None:
        result = self._result
        if result is None or self._over.is_set() or result.text or result.thinking:
            return
        status = self._chunk.get("status", "loading")
        result.waits = self._words(result.model.removesuffix(":latest"))
        result.waited = int(self._seconds()) if status == "loading" else 0
        self._draw(result)

    def _words(self, model: str) -> str:
        if not self._chunk:
            return f"waiting for {model}"
        if self._chunk["status"] != "loading" or self._chunk.get("reason"):
            return waiting_for(self._chunk)
        return f"loading {model}" + (f", {size(self._bytes)}" if self._bytes else "")

    def _request_size(self, timeout: float) -> None:
        """Request the size of the model; without an answer in time the size is not shown."""
        if self._result is None:
            return
        with suppress(OllamaClientError, ValueError, KeyError, TypeError):
            client = self._connection.address.client()
            try:
                models = client.call("GET", "/api/tags", timeout=timeout).get("models") or []
            finally:
                client.close()
            name = tagged(self._result.model).lower()
            self._bytes = next((int(m["size"]) for m in models if m["name"].lower() == name), 0)
