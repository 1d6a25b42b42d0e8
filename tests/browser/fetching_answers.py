"""Answers that try to make a page fetch a URL or act on a click, and a port that listens."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DATA = Path(__file__).parents[1] / "data" / "hostile_answers.json"


def answers(url: str) -> list[str]:
    """Return some 400 answers; each one with a URL has its own below ``url``."""
    known = json.loads(DATA.read_text("utf-8"))
    placed = [
        place.replace("HERE", image) for place in known["places"] for image in known["images"]
    ]
    texts = [*placed, *known["others"], *known["actions"]]
    return [text.replace("URL", f"{url}/{number}") for number, text in enumerate(texts)]


class Listener:
    """A port of this host that records the first line of each request without a response."""

    def __init__(self, server: socket.socket) -> None:
        self.url = f"http://127.0.0.1:{server.getsockname()[1]}"
        self.heard: list[str] = []
        self._server = server

    def serve(self) -> None:
        """Accept connections until the socket is closed."""
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(1)
                try:
                    self.heard.append(connection.recv(1000).decode(errors="replace").split("\r")[0])
                except OSError:
                    self.heard.append("a connection")


@contextmanager
def listening() -> Iterator[Listener]:
    """Listen on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        listener = Listener(server)
        thread = threading.Thread(target=listener.serve, daemon=True)
        thread.start()
        yield listener
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)
