"""`jupyter ollama pull` and `push`: models from registries and to them."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from typing import Any, ClassVar

from jupyter_ollama_client.client import Client
from jupyter_ollama_client.readable import size

from .command import note
from .connection import ClientCommand

_BAR_WIDTHS = (10, 60)
_BESIDE_BAR = 64
"""Columns that the texts around a bar take at most."""


class TransferCommand(ClientCommand):
    """The common part of pull and push."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Take a name, and whether the registry may go without encryption."""
        parser.add_argument("model", metavar="NAME")
        parser.add_argument(
            "--insecure", action="store_true", help="ask the registry by plain HTTP"
        )

    def run(self, arguments: argparse.Namespace) -> None:
        """Show the steps of the server."""
        transfer(self.client, self.verb, arguments.model, arguments.insecure)


class PullCommand(TransferCommand):
    """jupyter ollama pull"""

    name = "jupyter-ollama-pull"
    verb: ClassVar[str] = "pull"
    description = (
        "Get a model from a registry. A pull that was cut off goes on where it was; Ctrl-C ends it."
    )
    epilog = "example:\n  jupyter ollama pull llama3.2:1b"


class PushCommand(TransferCommand):
    """jupyter ollama push"""

    name = "jupyter-ollama-push"
    verb: ClassVar[str] = "push"
    description = "Send a model to the registry in its name."


def transfer(client: Client, verb: str, model: str, insecure: bool) -> None:
    """Pull or push a model and show how far it is."""
    bars = LayerBars()
    try:
        for step in client.stream(f"/api/{verb}", {"model": model, "insecure": insecure}):
            bars.show(step)
    finally:
        bars.close()


class LayerBars:
    """Shows status lines on standard error, those of layers with a bar on a terminal."""

    def __init__(self) -> None:
        self._status = ""
        self._terminal = sys.stderr.isatty()
        self._started = 0.0
        self._first = 0

    def show(self, step: dict[str, Any]) -> None:
        """Show one status line; one of the layer that is shown changes its bar."""
        status = step.get("status", "")
        if status != self._status:
            self.close()
            self._status = status
            self._started, self._first = time.monotonic(), step.get("completed", 0)
            note(status, end="" if self._terminal else "\n")
        if "total" in step and self._terminal:
            note(f"\r\x1b[2K{self._bar(status, step.get('completed', 0), step['total'])}", end="")

    def close(self) -> None:
        """End the current line."""
        if self._status and self._terminal:
            note("")
        self._status = ""

    def _bar(self, status: str, done: int, total: int) -> str:
        columns = shutil.get_terminal_size().columns
        width = min(max(columns - _BESIDE_BAR, _BAR_WIDTHS[0]), _BAR_WIDTHS[1])
        share = done / total if total else 1.0
        filled = int(share * width)
        head = f"{status}: {int(share * 100):3d}% ▕{'█' * filled}{' ' * (width - filled)}▏"
        if done >= total:
            return f"{head} {size(total)}"
        return f"{head} {size(done)}/{size(total)}{self._speed(done, total)}"

    def _speed(self, done: int, total: int) -> str:
        seconds = time.monotonic() - self._started
        speed = (done - self._first) / seconds if seconds > 1 else 0.0
        if not speed:
            return ""
        return f"  {size(int(speed))}/s  {rest((total - done) / speed)}"


def rest(seconds: float) -> str:
    """Return how long something still takes: 23s, 4m12s, 1h5m."""
    minutes, left = divmod(int(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60}h{minutes % 60}m"
    return f"{minutes}m{left}s" if minutes else f"{left}s"
