"""The numbers of tokens of texts, counted by the server or estimated, and a model's context."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from jupyter_ollama_client.errors import OllamaResponseError

from ..names import tagged, typed
from ..rows import tasks as row_tasks

if TYPE_CHECKING:
    from ..connection import Connection
    from ..rows.dispatch import Dispatcher
    from ..servers import Servers

DEFAULT_CONTEXT = 4096
"""Tokens of a request where the server does not say how many it takes by default."""

REQUEST_CHARACTERS = 50_000
"""The most characters of a request that counts; its answer has a line for each token."""


def estimate(text: str) -> int:
    """Return a number of tokens that hardly any vocabulary exceeds.

    A token of English has about four bytes. Half of that is assumed for ASCII, and a token for each
    byte of other scripts.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    return size - (sum(character < "\x80" for character in text) // 2) + 1


@dataclass
class Counts:
    """The number of tokens of each text, by ``/api/tokenize``."""

    model: str
    in_flight: int = 2

    def identity(self) -> list[Any]:
        """Return the values that the answers depend on."""
        return ["tokens"]

    def batches(self, texts: list[str]) -> Iterable[list[str]]:
        """Put texts together into requests of REQUEST_CHARACTERS."""
        batch: list[str] = []
        size = 0
        for text in texts:
            if batch and size + len(text) > REQUEST_CHARACTERS:
                yield batch
                batch, size = [], 0
            batch.append(text)
            size += len(text)
        if batch:
            yield batch

    async def send(self, http: Dispatcher, texts: list[str]) -> list[Any]:
        """Return the numbers of tokens; a token across two texts counts for the first."""
        body = {
            "model": self.model,
            "content": "".join(texts),
            "special": False,
            "parse_special": False,
            "with_pieces": True,
        }
        tokens = (await http.call("/api/tokenize", body))["tokens"]
        pieces = [_bytes(token["piece"]) for token in tokens]
        sizes = [len(text.encode()) for text in texts]
        # Some vocabularies begin every text with a blank.
        if sum(map(len, pieces)) - sum(sizes) not in (0, 1):
            if len(texts) == 1:
                return [len(pieces)]
            return [count for text in texts for count in await self.send(http, [text])]
        ends = list(accumulate(sizes))
        counts = [0] * len(texts)
        text = 0
        for begin in [0, *accumulate(map(len, pieces))][:-1]:
            while text < len(ends) - 1 and begin >= ends[text]:
                text += 1
            counts[text] += 1
        return counts

    def parse(self, answer: Any) -> int:
        """Return a number of tokens."""
        return int(answer)


@dataclass
class Estimates:
    """An estimate for each text, for servers without ``/api/tokenize``; sends no request."""

    model: str
    in_flight: int = 1

    def identity(self) -> list[Any]:
        """Return the values that the answers depend on."""
        return ["estimated tokens"]

    def batches(self, texts: list[str]) -> Iterable[list[str]]:
        """Estimate all texts at once."""
        return [texts] if texts else []

    async def send(self, http: Dispatcher, texts: list[str]) -> list[Any]:
        """Return the estimates."""
        return [estimate(text) for text in texts]

    def parse(self, answer: Any) -> int:
        """Return a number of tokens."""
        return int(answer)


def counting(servers: Servers, model: str) -> row_tasks.Task:
    """Return the task that counts tokens: by the server where it can."""
    body = {"model": model, "content": "a"}
    return Counts(model) if servers.answers("/api/tokenize", body) else Estimates(model)


def context_length(connection: Connection, model: str) -> int:
    """Return the number of tokens of a request to ``model`` by default.

    The loaded model has it, so that a request with this ``num_ctx`` loads nothing again.
    """
    length = DEFAULT_CONTEXT
    with suppress(OllamaResponseError):
        info = connection.client.show(model).get("model_info") or {}
        trained = info.get(f"{info.get('general.architecture')}.context_length")
        length = min(length, int(trained or length))
    with suppress(OllamaResponseError):
        name = tagged(typed(model)).lower()
        for one in connection.client.ps():
            if tagged(typed(str(one.get("name")))).lower() == name:
                length = int(one.get("context_length") or length)
    return length


def _bytes(piece: str | list[int]) -> bytes:
    return piece.encode() if isinstance(piece, str) else bytes(piece)
