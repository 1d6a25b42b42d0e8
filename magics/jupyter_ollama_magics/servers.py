"""The servers that a call of the accessors goes to."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

from .connection import Connection
from .discovery import discover
from .errors import OllamaConnectionError
from .failures import OllamaMagicsError, reported
from .row_tasks import NO_SCORE, messages

if TYPE_CHECKING:
    from .client import Client

T = TypeVar("T")

_MARK = "\N{OBJECT REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Servers:
    """Servers with the same models, and the models that are meant where none is named."""

    connections: Sequence[Connection]
    model: str = ""
    embed_model: str = ""

    @classmethod
    def find(cls) -> Self:
        """Return the server of this kernel or process: that of the magics if they are loaded."""
        ipython = sys.modules.get("IPython")
        shell = ipython.get_ipython() if ipython else None
        magics = shell.magics_manager.registry.get("OllamaMagics") if shell else None
        if magics is None:
            return cls([Connection(discover)])
        return cls([magics.connection], magics.model, magics.embed_model)

    @classmethod
    def at(cls, urls: Sequence[str], token_variable: str | None = None) -> Self:
        """Return the servers at ``urls``.

        ``token_variable`` names the environment variable with the token that all of them take.
        Without it each gets the token that the environment has for its address, if any.
        """
        token = os.environ.get(token_variable, "") if token_variable else ""
        if token_variable and not token:
            raise OllamaMagicsError(f"The environment has no variable {token_variable}.")
        found = [Connection(partial(discover, url, token)) for url in urls]
        return replace(cls.find(), connections=found)

    def choose(self, model: str | None, capability: str) -> str:
        """Return the model that is meant: given, set, or the only one there is."""
        known = self.embed_model if capability == "embedding" else self.model
        with reported(self.connections[0]):
            return model or known or self._any(lambda one: one.choose(capability))

    def having(self, model: str) -> tuple[list[Client], str]:
        """Return clients of the servers that are there, and what tells the model from others.

        Raises OllamaClientError if none is there, OllamaMagicsError if their models differ.
        """
        clients: list[Client] = []
        urls: dict[str, str] = {}
        loss: OllamaConnectionError | None = None
        for connection in self.connections:
            try:
                entry = connection.entry(model) or {}
            except OllamaConnectionError as error:
                loss = error
                continue
            clients.append(connection.client)
            urls[entry.get("digest") or ""] = connection.endpoint.url
        if loss and not clients:
            raise loss
        if len(urls) > 1:
            raise OllamaMagicsError(f"{model} is not the same on {' and '.join(urls.values())}.")
        digest, url = urls.popitem()
        return clients, digest or f"{url} {model}"

    def around(self, model: str, system: str) -> tuple[str, str]:
        """Return what a model reads before and after the text of a row."""
        body = {
            "model": model,
            "messages": messages(system, _MARK),
            "stream": False,
            "_debug_render_only": True,
        }
        with reported(self.connections[0], model):
            answer = self._any(lambda one: one.client.call("POST", "/api/chat", body))
        prompt = (answer.get("_debug_info") or {}).get("rendered_template") or ""
        before, found, after = prompt.partition(_MARK)
        if not found:
            raise OllamaMagicsError(NO_SCORE)
        return before, after

    def _any(self, ask: Callable[[Connection], T]) -> T:
        """Return the answer of the first server that can be reached."""
        *others, last = self.connections
        for connection in others:
            with suppress(OllamaConnectionError):
                return ask(connection)
        return ask(last)
