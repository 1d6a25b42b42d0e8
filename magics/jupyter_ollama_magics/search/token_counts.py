"""The numbers of tokens of texts, counted by the server's tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jupyter_ollama_client.client import Client
from jupyter_ollama_client.errors import OllamaResponseError

from ..rows import jobs as rows
from ..rows.tasks import IN_FLIGHT

if TYPE_CHECKING:
    from ..rows.dispatch import Dispatcher

CHARACTERS = 3
"""Characters for which a token is assumed where a server has no /api/tokenize."""


@dataclass
class Tokens:
    """The number of tokens of each text, without the ones that a model adds around it."""

    model: str
    in_flight: int = IN_FLIGHT

    def identity(self) -> list[Any]:
        """Return the values that the answers depend on."""
        return ["tokens"]

    def batches(self, texts: list[str]) -> Iterable[list[str]]:
        """Put each text into a request of its own."""
        return ([text] for text in texts)

    async def send(self, http: Dispatcher, texts: list[str]) -> list[Any]:
        """Return the number of tokens of the only text."""
        body = {"model": self.model, "content": texts[0], "special": False, "parse_special": False}
        return [len((await http.call("/api/tokenize", body))["tokens"])]

    def parse(self, answer: Any) -> Any:
        """Return the number unchanged."""
        return answer


class TokenCounter:
    """Counts tokens, or estimates them from characters if the server cannot count."""

    def __init__(self, model: str, identity: str, clients: Sequence[Client]) -> None:
        self._model = model
        self._identity = identity
        self._clients = clients
        self.estimates = False

    def __call__(self, texts: Sequence[str]) -> Mapping[str, int]:
        """Return the number of tokens of each text."""
        if not self.estimates and texts:
            job = rows.RowJob(Tokens(self._model), self._identity, texts, strict=True)
            try:
                rows.run(job, self._clients, progress=False)
                return job.answers
            except OllamaResponseError as error:
                if error.status not in (404, 405):
                    raise
                self.estimates = True
        return {text: -(-len(text) // CHARACTERS) for text in texts}
