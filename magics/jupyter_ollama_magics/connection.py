"""The server of the magics and its models."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from jupyter_ollama_client.client import Client
from jupyter_ollama_client.discovery import ServerAddress
from jupyter_ollama_client.errors import OllamaClientError, OllamaResponseError

from .failures import OllamaMagicsError
from .names import listed, tagged, typed

LACKS = {"vision": "does not see images", "audio": "does not hear sounds"}
"""What a model without a capability does not do; the others only make embeddings."""


class Connection:
    """A server that is found at its first use and kept until ``reset``."""

    def __init__(self, find: Callable[[], ServerAddress]) -> None:
        self._find = find
        self._address: ServerAddress | None = None
        self._client: Client | None = None

    @property
    def address(self) -> ServerAddress:
        """The address of the server. Raises ValueError if a setting is not an address."""
        if self._address is None:
            self._address = self._find()
        return self._address

    @property
    def client(self) -> Client:
        """The client of the server."""
        if self._client is None:
            self._client = self.address.client()
        return self._client

    @property
    def skipped(self) -> str:
        """Why the Jupyter server of the kernel is not used, "" if it is."""
        return self._address.skipped if self._address else ""

    def hang_up(self) -> None:
        """Close every open connection, which cancels the requests of this kernel."""
        if self._client is not None:
            self._client.close()

    def reset(self) -> None:
        """Forget the server; the next use discovers it again."""
        self.hang_up()
        self._address = self._client = None

    def choose(self, capability: str, how: str = "") -> str:
        """Return the only model with a capability ("completion" or "embedding").

        ``how`` is the advice of the error for a choice of several.
        """
        models = self.client.list()
        fitting = [m["name"] for m in models if capability in self.capabilities(m)]
        if len(fitting) == 1:
            return str(fitting[0])
        if not how:
            how = "%embed EXPR --model NAME" if capability == "embedding" else "%%chat NAME"
        if fitting:
            raise OllamaMagicsError(f"Which model? {how}, or %ollama use NAME: {listed(fitting)}.")
        have = f"It has {listed([m['name'] for m in models])}." if models else "It has no models."
        raise OllamaMagicsError(f"No {capability} model is on {self.address.url}. {have}")

    def capabilities(self, model: dict[str, Any]) -> list[str]:
        """Return the capabilities of a listed model; older servers need a request for them."""
        known = model.get("capabilities")
        if known is None:
            known = self.client.show(model["name"]).get("capabilities")
        return list(known or [])

    def checked(self, name: str, capability: str) -> dict[str, Any]:
        """Return the list entry of a model that has a capability, {} for one that is not listed.

        Raises OllamaResponseError if the server does not have it, OllamaMagicsError if it lacks
        the capability. Every model may be used for embeddings.
        """
        entry = self.entry(name)
        try:
            shown = entry or self.client.show(name)
        except OllamaResponseError as error:
            if error.status != 404:
                raise
            raise OllamaResponseError(404, f"model '{name}' not found") from error
        abilities = shown.get("capabilities") or (self.capabilities(entry) if entry else [])
        if capability != "embedding" and abilities and capability not in abilities:
            lack = LACKS.get(capability, "only makes embeddings")
            raise OllamaMagicsError(f"{name} {lack}.{self.instead(capability)}")
        return entry or {}

    def instead(self, capability: str) -> str:
        """Return a sentence with the models that have a capability."""
        try:
            models = self.client.list()
            able = [m["name"] for m in models if capability in self.capabilities(m)]
        except OllamaClientError:
            return ""
        purposes = {"completion": "chat", "vision": "see images", "tools": "call tools"}
        purposes["audio"] = "hear sounds"
        purpose = purposes.get(capability, f"have {capability}")
        if able:
            return f" Models that {purpose}: {listed(able)}."
        return f" {self.address.url} has no models that {purpose}."

    def entry(self, name: str) -> dict[str, Any] | None:
        """Return the server's list entry of a model, None if it has none."""
        full = tagged(typed(name)).lower()
        return next(
            (m for m in self.client.list() if tagged(typed(m["name"])).lower() == full), None
        )

    def suggestion(self, name: str) -> str:
        """Return a sentence with similar names of models, "" if the server does not answer."""
        import difflib

        try:
            names = [str(model["name"]) for model in self.client.list()]
        except OllamaClientError:
            return ""
        if not names:
            return f". {self.address.url} has no models yet."
        short = {candidate.removesuffix(":latest").lower(): candidate for candidate in names}
        close = difflib.get_close_matches(name.lower(), short, n=3)
        if close:
            return f". Did you mean {listed([short[match] for match in close])}?"
        return f". {self.address.url} has {listed(names)}."


class ModelNames:
    """The names of models for tab completion, which must not block.

    A thread requests them. ``get`` waits at most WAIT seconds; names that arrive later are used by
    the next Tab. They are cached for KEEP seconds.
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
        """Return the names, [] if the server does not answer in time. Never raises."""
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
        """Request the names again next time."""
        self._fetched = -self.KEEP

    def _fetch(self) -> None:
        try:
            client = self._connection.address.client()
            try:
                self._names = [str(model["name"]) for model in client.list()]
            finally:
                client.close()
        except (OllamaClientError, ValueError, KeyError):
            return
        self._fetched = time.monotonic()
