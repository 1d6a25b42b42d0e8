"""The server's side of a runner: what can be asked of a loaded model."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from ..options import Options
from .process import RunnerProcess
from .protocol import (
    ChatPrompt,
    Constraint,
    Detokenize,
    Detokenized,
    Done,
    Embed,
    Embedded,
    Generate,
    Progress,
    RawPrompt,
    Render,
    Rendered,
    Resize,
    Resized,
    Score,
    Scored,
    SuffixPrompt,
    Text,
    Tokenize,
    Tokenized,
    Truncated,
)

Prompt = ChatPrompt | SuffixPrompt | RawPrompt


@dataclass(frozen=True)
class Embeddings:
    """``count`` rows of ``size`` float32, row after row in ``rows``."""

    rows: bytes
    count: int
    size: int
    prompt_eval_count: int


class Runner(RunnerProcess):
    """A loaded model in a process of its own. Create it by `start`."""

    async def generate(
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
    ) -> AsyncGenerator[Truncated | Progress | Text | Done]:
        """Yield the parts of an answer as they come, or at once without ``stream``, then its Done.

        A prompt that was cut is told first. Closing the generator frees the sequence in the
        runner. See Generate for the arguments. Raises OllamaError.
        """
        command = Generate(
            next(self._numbers),
            prompt,
            options,
            truncate,
            shift,
            return_context,
            stream,
            constraint,
            logprobs,
            must_call,
            progress,
        )
        answers = self._ask(command)
        try:
            async for event, _ in answers:
                assert isinstance(event, Truncated | Progress | Text | Done)
                yield event
        finally:
            await answers.aclose()

    async def embed(
        self, texts: list[str], num_ctx: int, *, truncate: bool = True, normalize: bool = True
    ) -> Embeddings:
        """Return the embeddings of texts, each cut to ``num_ctx`` tokens if ``truncate``."""
        if not texts:
            return Embeddings(b"", 0, 0, 0)
        command = Embed(next(self._numbers), texts, num_ctx, truncate, normalize)
        event, frames = await self._answer(command)
        assert isinstance(event, Embedded)
        return Embeddings(frames[0], event.count, event.size, event.prompt_eval_count)

    async def rerank(
        self, query: str, documents: list[str], num_ctx: int, *, truncate: bool = True
    ) -> Embeddings:
        """Return a row for each document, whose first number says how well it fits the query."""
        command = Embed(next(self._numbers), documents, num_ctx, truncate, False, query)
        event, frames = await self._answer(command)
        assert isinstance(event, Embedded)
        return Embeddings(frames[0], event.count, event.size, event.prompt_eval_count)

    async def score(self, prompt: str, continuations: list[str], num_ctx: int) -> Scored:
        """Return how likely ``prompt``, read as it stands, goes on with each continuation.

        Raises OllamaError(400) if one does not fit into ``num_ctx`` tokens with the prompt.
        """
        command = Score(next(self._numbers), prompt, continuations, num_ctx)
        event, _ = await self._answer(command)
        assert isinstance(event, Scored)
        return event

    async def tokenize(
        self, text: str, *, special: bool = True, parse_special: bool = True
    ) -> Tokenized:
        """Return the tokens of a text; see Tokenize for the arguments."""
        command = Tokenize(next(self._numbers), text, special, parse_special)
        event, _ = await self._answer(command)
        assert isinstance(event, Tokenized)
        return event

    async def detokenize(self, tokens: list[int], *, special: bool = False) -> str:
        """Return the text of tokens. Raises OllamaError(400) for tokens that there are not."""
        event, _ = await self._answer(Detokenize(next(self._numbers), tokens, special))
        assert isinstance(event, Detokenized)
        return event.text

    async def resize(self, num_ctx: int) -> None:
        """Make room for sequences of ``num_ctx`` tokens; ``ready`` tells of it.

        Raises OllamaError if there is no memory for it; all is as before then.
        """
        event, _ = await self._answer(Resize(next(self._numbers), num_ctx))
        assert isinstance(event, Resized)

    async def render(self, prompt: Prompt, num_ctx: int) -> Rendered:
        """Return the text a prompt is rendered to, and what is in it."""
        event, _ = await self._answer(Render(next(self._numbers), prompt, num_ctx))
        assert isinstance(event, Rendered)
        return event
