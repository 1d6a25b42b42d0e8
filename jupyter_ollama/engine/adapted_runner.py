"""A runner as one of its models sees it: requests are computed with the adapters of that model."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from ..options import Options
from .events import Done, Progress, Rendered, Scored, Text, Tokenized, Truncated
from .model_runner import Prompt
from .protocol import ChatPrompt
from .runner_client import Embeddings, RunnerClient


class AdaptedRunner:
    """Passes requests to a runner that serves several models; see `ModelRunner`.

    ``adapters`` is the number of a set that the runner has loaded.
    """

    def __init__(self, runner: RunnerClient, adapters: int) -> None:
        self.runner = runner
        self.adapters = adapters

    def generate(
        self, prompt: Prompt, options: Options, **details: Any
    ) -> AsyncGenerator[Truncated | Progress | Text | Done]:
        """Yield the parts of an answer, then Done. Raises OllamaError."""
        return self.runner.generate(prompt, options, adapters=self.adapters, **details)

    async def embed(self, texts: list[str], num_ctx: int, **details: Any) -> Embeddings:
        """Return the embeddings of texts. Raises OllamaError."""
        return await self.runner.embed(texts, num_ctx, adapters=self.adapters, **details)

    async def rerank(
        self, query: str, documents: list[str], num_ctx: int, **details: Any
    ) -> Embeddings:
        """Return a row for each document, whose first number is its relevance to the query."""
        adapters = self.adapters
        return await self.runner.rerank(query, documents, num_ctx, adapters=adapters, **details)

    async def score(
        self, prompt: str | ChatPrompt, continuations: list[str], num_ctx: int, **details: Any
    ) -> Scored:
        """Return the log-probabilities of each continuation. Raises OllamaError."""
        adapters = self.adapters
        return await self.runner.score(prompt, continuations, num_ctx, adapters=adapters, **details)

    async def tokenize(self, text: str, **details: Any) -> Tokenized:
        """Return the tokens of a text, which adapters do not change."""
        return await self.runner.tokenize(text, **details)

    async def count(self, text: str) -> int:
        """Return the number of tokens of a text."""
        return await self.runner.count(text)

    async def detokenize(self, tokens: list[int], *, special: bool = False) -> str:
        """Return the text of tokens. Raises OllamaError."""
        return await self.runner.detokenize(tokens, special=special)

    async def render(self, prompt: Prompt, num_ctx: int, *details: Any, **named: Any) -> Rendered:
        """Return the rendered text of a prompt. Raises OllamaError."""
        return await self.runner.render(prompt, num_ctx, *details, **named)
