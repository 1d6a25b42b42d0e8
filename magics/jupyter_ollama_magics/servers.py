"""The servers of a call of the accessors."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self, TypeVar

from jupyter_ollama_client.discovery import ServerAddress, discover
from jupyter_ollama_client.errors import OllamaConnectionError, OllamaResponseError

from .connection import Connection
from .failures import OllamaMagicsError
from .reporting import reported

if TYPE_CHECKING:
    from jupyter_ollama_client.client import Client

T = TypeVar("T")

NO_ROUTE = {404, 405, 501}
"""Statuses of a path that a server does not have."""


@dataclass(frozen=True)
class Servers:
    """Servers with the same models, and the default models."""

    connections: Sequence[Connection]
    model: str = ""
    embed_model: str = ""
    shared: bool = False
    """Whether the connections belong to the magics, which keep them open."""

    @classmethod
    def find(cls) -> Self:
        """Return the server of the loaded magics, else the server of the environment."""
        ipython = sys.modules.get("IPython")
        shell = ipython.get_ipython() if ipython else None
        magics = shell.magics_manager.registry.get("OllamaMagics") if shell else None
        if magics is None:
            return cls([Connection(discover)])
        return cls([magics.connection], magics.model, magics.embed_model, shared=True)

    @classmethod
    def at(cls, urls: Sequence[str], token_variable: str | None = None) -> Self:
        """Return the servers at ``urls``.

        ``token_variable`` names the environment variable with the token of all of them. Without it
        each gets the token of the environment or the magics for its address, if any.
        """
        token = os.environ.get(token_variable, "") if token_variable else ""
        if token_variable and not token:
            raise OllamaMagicsError(f"The environment has no variable {token_variable}.")
        own = cls.find()

        def at(url: str) -> Connection:
            return Connection(lambda: own._known(discover(url, token)))

        return replace(own, connections=[at(url) for url in urls], shared=False)

    def close(self) -> None:
        """Close the connections that belong to this call; the next request opens new ones."""
        if not self.shared:
            for connection in self.connections:
                connection.hang_up()

    def _known(self, address: ServerAddress) -> ServerAddress:
        """Return ``address``, or the first server's if it has the same URL and a token."""
        if address.headers or address.socket:
            return address
        with suppress(ValueError):
            mine = self.connections[0].address
            return mine if mine.url == address.url else address
        return address

    def choose(self, model: str | None, capability: str) -> str:
        """Return the given model, else the default one, else the only one on the server."""
        known = self.embed_model if capability == "embedding" else self.model
        with reported(self.connections[0]):
            return model or known or self._any(lambda one: one.choose(capability))

    def having(self, model: str, capability: str) -> tuple[list[Client], str]:
        """Return clients of the servers that answer, and an identifier of the model's content.

        Raises OllamaClientError if none answers or the model is missing, OllamaMagicsError if the
        models differ or lack the capability.
        """
        clients: list[Client] = []
        urls: dict[str, str] = {}
        loss: OllamaConnectionError | None = None
        for connection in self.connections:
            try:
                entry = connection.checked(model, capability)
            except OllamaConnectionError as error:
                loss = error
                continue
            clients.append(connection.client)
            urls[entry.get("digest") or ""] = connection.address.url
        if loss and not clients:
            raise loss
        if len(urls) > 1:
            raise OllamaMagicsError(f"{model} is not the same on {' and '.join(urls.values())}.")
        digest, url = urls.popitem()
        return clients, digest or f"{url} {model}"

    def can_score(self, model: str) -> bool:
        """Return whether all servers that can be reached have ``/api/score``."""
        found = []
        for connection in self.connections:
            with suppress(OllamaConnectionError):
                found.append(_has_score(connection, model))
        return all(found)

    def _any(self, ask: Callable[[Connection], T]) -> T:
        """Return the answer of the first server that can be reached."""
        *others, last = self.connections
        for connection in others:
            with suppress(OllamaConnectionError):
                return ask(connection)
        return ask(last)


def _has_score(connection: Connection, model: str) -> bool:
    """Send a request without continuations: a server that has the path refuses it by 400."""
    try:
        connection.client.call("POST", "/api/score", {"model": model})
    except OllamaResponseError as error:
        return error.status not in NO_ROUTE
    return True
