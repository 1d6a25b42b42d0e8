"""The server's side of a runner: what can be asked of a loaded model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from ..errors import OllamaError
from ..options import Options
from .meter import Bill
from .process import RunnerProcess
from .protocol import (
    ChatPrompt,
    Constraint,
    Detokenize,
    Detokenized,
    Done,
    Embed,
    Embedded,
    Event,
    Generate,
    LoadSpec,
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

LONGEST_STEP = 30.0
"""Seconds until the cost of a cancelled request is taken for none. The runner tells of it after its
step."""


@dataclass(frozen=True)
class Embeddings:
    """``count`` rows of ``size`` float32, row after row in ``rows``."""

    rows: bytes
    count: int
    size: int
    prompt_eval_count: int


class Runner(RunnerProcess):
    """A loaded model in a process of its own. Create it by `start`.

    What requests cost is told to `current_meter`, for cancelled ones once the runner has said it.
    """

    def __init__(self, spec: LoadSpec) -> None:
        super().__init__(spec)
        self._unpaid: dict[int, Bill] = {}
        self.exited.add_done_callback(lambda _: self._write_all_off())

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
        bill = Bill()
        answers = self._ask(command)
        try:
            async for event, _ in answers:
                assert isinstance(event, Truncated | Progress | Text | Done)
                bill.take(event)
                yield event
        except OllamaError:
            bill.settle()
            raise
        finally:
            self._leave(command.request, bill)
            await answers.aclose()

    def _leave(self, request: int, bill: Bill) -> None:
        """Settle the bill of a request that may be cancelled in its middle."""
        unread = self._requests.get(request)
        while unread and not unread.empty():
            bill.take(unread.get_nowait()[0])
        if not bill.is_open:
            return
        self._unpaid[request] = bill
        asyncio.get_running_loop().call_later(LONGEST_STEP, self._write_off, request)

    def _write_off(self, request: int) -> None:
        if bill := self._unpaid.pop(request, None):
            bill.settle()

    def _write_all_off(self) -> None:
        for request in [*self._unpaid]:
            self._write_off(request)

    def _dispatch(self, event: Event, frames: list[bytes]) -> None:
        if isinstance(event, Done) and (bill := self._unpaid.pop(event.request, None)):
            bill.take(event)
        else:
            super()._dispatch(event, frames)

    async def _embedded(self, command: Embed) -> Embeddings:
        bill = Bill()
        try:
            event, frames = await self._answer(command)
            assert isinstance(event, Embedded)
            bill.settle(event.prompt_eval_count)
        finally:
            bill.settle()
        return Embeddings(frames[0], event.count, event.size, event.prompt_eval_count)

    async def embed(
        self, texts: list[str], num_ctx: int, *, truncate: bool = True, normalize: bool = True
    ) -> Embeddings:
        """Return the embeddings of texts, each cut to ``num_ctx`` tokens if ``truncate``."""
        if not texts:
            return Embeddings(b"", 0, 0, 0)
        return await self._embedded(Embed(next(self._numbers), texts, num_ctx, truncate, normalize))

    async def rerank(
        self, query: str, documents: list[str], num_ctx: int, *, truncate: bool = True
    ) -> Embeddings:
        """Return a row for each document, whose first number says how well it fits the query."""
        number = next(self._numbers)
        return await self._embedded(Embed(number, documents, num_ctx, truncate, False, query))

    async def score(self, prompt: str, continuations: list[str], num_ctx: int) -> Scored:
        """Return how likely ``prompt``, read as it stands, goes on with each continuation.

        Raises OllamaError(400) if one does not fit into ``num_ctx`` tokens with the prompt.
        """
        command = Score(next(self._numbers), prompt, continuations, num_ctx)
        bill = Bill()
        try:
            event, _ = await self._answer(command)
            assert isinstance(event, Scored)
            read = event.prompt_eval_count + sum(map(len, event.continuations))
            bill.settle(read, event.cached)
        finally:
            bill.settle()
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
