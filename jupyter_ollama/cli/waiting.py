"""A line on the terminal with the reason of a wait: a load, a queue, a long prompt."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from jupyter_ollama_client.client import Client
from jupyter_ollama_client.errors import OllamaClientError
from jupyter_ollama_client.readable import size

from .command import note

PATIENCE = 0.3
"""Seconds before the line is shown: most answers begin sooner."""
FRAME = 0.1
"""Seconds between two frames of the spinner."""
LOOKUP_TIMEOUT = 2.0
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class WaitSpinner:
    """Shows a spinner, the reason of a wait and its duration on standard error."""

    def __init__(self, client: Client, model: str) -> None:
        self.text = f"loading {model}"
        self._client, self._model = client, model
        self._loads = True
        self._started = time.monotonic()
        self._stop = threading.Event()
        self._shown = 0
        self._thread = threading.Thread(target=self._run, name="waiting", daemon=True)
        self._thread.start()

    def update(self, status: dict[str, Any]) -> None:
        """Take a status line of the server."""
        self._loads = status["status"] == "loading"
        self.text = described(status, self._model)

    def end(self) -> None:
        """Remove the line; there is none any more when this returns."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._draw("")

    def _run(self) -> None:
        if self._stop.wait(PATIENCE):
            return
        self._draw(self._line(0, ""))
        bytes_known = self._size()
        for frame in count():
            self._draw(self._line(frame, bytes_known if self._loads else ""))
            if self._stop.wait(FRAME):
                return

    def _line(self, frame: int, bytes_known: str) -> str:
        seconds = int(time.monotonic() - self._started)
        spent = f" {seconds} s" if seconds else ""
        return f"{FRAMES[frame % len(FRAMES)]} {self.text}{bytes_known}…{spent}"

    def _size(self) -> str:
        """Return the size of the model, with a comma before it, or nothing if it is unknown."""
        client = Client(self._client.url, self._client.token, socket=self._client.socket)
        wanted = {self._model.lower(), f"{self._model}:latest".lower()}
        try:
            listed = client.call("GET", "/api/tags", timeout=LOOKUP_TIMEOUT).get("models") or []
        except OllamaClientError:
            return ""
        finally:
            client.close()
        sizes = [one.get("size") for one in listed if str(one.get("name")).lower() in wanted]
        return f", {size(sizes[0])}" if sizes and sizes[0] else ""

    def _draw(self, line: str) -> None:
        line = line[: shutil.get_terminal_size().columns - 1]  # a longer one could not be removed
        if line or self._shown:
            note(f"\r{line:<{self._shown}}", end="")
            if not line:
                note("\r", end="")
            self._shown = len(line)


def described(status: dict[str, Any], model: str) -> str:
    """Return a status line of the server as text for users."""
    kind = status["status"]
    if status.get("reason"):
        return f"waiting for {model}: {status['reason']}"
    if kind == "queued" and status.get("position"):
        return f"waiting for {model}, place {status['position']} in the queue"
    if kind == "prompt" and status.get("total"):
        return f"reading the prompt, {100 * status.get('completed', 0) // status['total']} %"
    return f"loading {model}" if kind == "loading" else str(kind)


def is_shown() -> bool:
    """Return whether there is a terminal for the line."""
    return sys.stderr.isatty()


@contextmanager
def waiting(client: Client, model: str) -> Iterator[WaitSpinner | None]:
    """Show the reason of a request's wait while the block runs, or until `WaitSpinner.end`."""
    if not is_shown():
        yield None
        return
    line = WaitSpinner(client, model)
    try:
        yield line
    finally:
        line.end()


def after_waiting(
    stream: Iterable[dict[str, Any]], client: Client, model: str
) -> Iterator[dict[str, Any]]:
    """Yield a stream of chat or generate from its first text on; until then, show its steps."""
    with waiting(client, model) as line:
        for chunk in stream:
            if "status" in chunk:
                if line:
                    line.update(chunk)
                continue
            if line:
                line.end()
            yield chunk
