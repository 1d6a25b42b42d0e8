"""What requests ask of a model, wherever it runs: in a process of this server or elsewhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from ..options import Options
from .events import Done, Progress, Rendered, Scored, Text, Tokenized, Truncated
from .protocol import OWN_PREFIXES, ChatPrompt, Constraint, PrefixSharing, RawPrompt, SuffixPrompt
from .runner_client import Embeddings

Prompt = ChatPrompt | SuffixPrompt | RawPrompt


class ModelRunner(Protocol):
    """Answers requests for one model; see `RunnerClient` for the arguments."""

    def generate(
        self,
        prompt: Prompt,
        options: Options,
        *,
        truncate: bool = True,
        shift: bool = True,
        return_context: bool = False,
        stream: bool = True,
        constraint: Constraint | None = None,
        logprobs: int | None = None,
        must_call: bool = False,
        progress: bool = False,
        sharing: PrefixSharing = OWN_PREFIXES,
    ) -> AsyncGenerator[Truncated | Progress | Text | Done]:
        """Yield the parts of an answer, then Done. Raises OllamaError."""

    async def embed(
        self, texts: list[str], num_ctx: int, *, truncate: bool = True, normalize: bool = True
    ) -> Embeddings:
        """Return the embeddings of texts. Raises OllamaError."""

    async def rerank(
        self, query: str, documents: list[str], num_ctx: int, *, truncate: bool = True
    ) -> Embeddings:
        """Return a row for each document, whose first number is its relevance to the query."""

    async def score(
        self,
        prompt: str | ChatPrompt,
        continuations: list[str],
        num_ctx: int,
        *,
        raw: bool = False,
        sharing: PrefixSharing = OWN_PREFIXES,
    ) -> Scored:
        """Return the log-probabilities of each continuation. Raises OllamaError."""

    async def tokenize(
        self, text: str, *, special: bool = True, parse_special: bool = True
    ) -> Tokenized:
        """Return the tokens of a text. Raises OllamaError."""

    async def count(self, text: str) -> int:
        """Return the number of tokens of a text, an estimate where the model runs elsewhere."""

    async def detokenize(self, tokens: list[int], *, special: bool = False) -> str:
        """Return the text of tokens. Raises OllamaError."""

    async def render(
        self, prompt: Prompt, num_ctx: int, sharing: PrefixSharing = OWN_PREFIXES
    ) -> Rendered:
        """Return the rendered text of a prompt. Raises OllamaError."""
