"""The server that the magics talk to, and which models it has."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .client import Client
from .discovery import Endpoint
from .errors import OllamaClientError
from .failures import OllamaMagicsError


class Connection:
    """A server that is found at the first use and kept until ``reset``."""

    def __init__(self, find: Callable[[], Endpoint]) -> None:
        self._find = find
        self._endpoint: Endpoint | None = None
        self._client: Client | None = None

    @property
    def endpoint(self) -> Endpoint:
        """Where the server is. Raises ValueError for an address that is none."""
        if self._endpoint is None:
            self._endpoint = self._find()
        return self._endpoint

    @property
    def client(self) -> Client:
        """The client of the server."""
        if self._client is None:
            self._client = self.endpoint.client()
        return self._client

    @property
    def skipped(self) -> str:
        """Why the parent Jupyter server was passed over, if it was."""
        return self._endpoint.skipped if self._endpoint else ""

    def hang_up(self) -> None:
        """Close every open connection, so that the server stops working for this kernel."""
        if self._client is not None:
            self._client.close()

    def reset(self) -> None:
        """Forget the server; the next use looks for it again."""
        self.hang_up()
        self._endpoint = self._client = None

    def choose(self, capability: str) -> str:
        """Return the only model with a capability ("completion" or "embedding")."""
        models = self.client.list()
        fitting = [m["name"] for m in models if capability in self.capabilities(m)]
        if len(fitting) == 1:
            return str(fitting[0])
        how = "%%chat NAME" if capability == "completion" else "%embed EXPR --model NAME"
        if fitting:
            raise OllamaMagicsError(f"Which model? {how}, or %ollama use NAME: {_names(fitting)}.")
        have = f"It has {_names([m['name'] for m in models])}." if models else "It has no models."
        raise OllamaMagicsError(f"No {capability} model is on {self.endpoint.url}. {have}")

    def capabilities(self, model: dict[str, Any]) -> list[str]:
        """Return what a model of the server's list can do; older servers tell only when asked."""
        known = model.get("capabilities")
        if known is None:
            known = self.client.show(model["name"]).get("capabilities")
        return list(known or [])

    def entry(self, name: str) -> dict[str, Any] | None:
        """Return the server's list entry of a model, None if it is not there."""
        full = (name if ":" in name.rpartition("/")[2] else f"{name}:latest").lower()
        return next((m for m in self.client.list() if m["name"].lower() == full), None)

    def suggestion(self, name: str) -> str:
        """Return a sentence with the names that may have been meant, "" if there are none."""
        import difflib

        try:
            names = [str(model["name"]) for model in self.client.list()]
        except OllamaClientError:
            return ""
        if not names:
            return f". {self.endpoint.url} has no models yet."
        short = {candidate.removesuffix(":latest").lower(): candidate for candidate in names}
        close = difflib.get_close_matches(name.lower(), short, n=3)
        if close:
            return f". Did you mean {_names([short[match] for match in close])}?"
        return f". {self.endpoint.url} has {_names(names)}."


def _names(names: list[str]) -> str:
    shown = ", ".join(name.removesuffix(":latest") for name in sorted(names)[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown


class ModelNames:
    """Names for tab completion: quick or nothing.

    The server is asked in a thread. Who asks waits WAIT seconds at most; a later answer serves
    the next Tab. Names are kept for KEEP seconds.
    """

    WAIT = 0.3
    KEEP = 10.0

    def __init__(self, connection: Connection) -> None:
        import threading

        self._connection = connection
        self._names: list[str] = []
        self._fetched = -self.KEEP
        self._thread = threading.Thread()

    def get(self) -> list[str]:
        """Return the names, [] where the server does not tell them in time. Never raises."""
        import threading

        if time.monotonic() - self._fetched < self.KEEP:
            return self._names
        if not self._thread.is_alive():
            self._names = []
            self._thread = threading.Thread(target=self._fetch, daemon=True)
            self._thread.start()
        self._thread.join(self.WAIT)
        return self._names

    def forget(self) -> None:
        """Ask again next time."""
        self._fetched = -self.KEEP

    def _fetch(self) -> None:
        try:
            client = self._connection.endpoint.client()
            try:
                self._names = [str(model["name"]) for model in client.list()]
            finally:
                client.close()
        except (OllamaClientError, ValueError, KeyError):
            return
        self._fetched = time.monotonic()
