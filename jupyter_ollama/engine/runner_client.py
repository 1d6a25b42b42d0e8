"""The server's side of a runner: requests to a loaded model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from ..errors import OllamaError
from ..options import Options
from .events import (
    AdaptersLoaded,
    AdaptersRefused,
    Detokenized,
    Done,
    Embedded,
    Event,
    LoadFailed,
    Progress,
    Rendered,
    Resized,
    Scored,
    Text,
    Tokenized,
    Truncated,
)
from .meter import CostReport
from .protocol import (
    OWN_PREFIXES,
    ChatPrompt,
    Constraint,
    Detokenize,
    Embed,
    FreeAdapters,
    Generate,
    LoadAdapters,
    LoadSpec,
    PrefixSharing,
    RawPrompt,
    Render,
    Resize,
    Score,
    SuffixPrompt,
    Tokenize,
)
from .runner_failures import LoadRefused
from .runner_process import RunnerProcess

Prompt = ChatPrompt | SuffixPrompt | RawPrompt

LONGEST_STEP = 30.0
"""Seconds to wait for the cost of a cancelled request, which the runner reports after its step.
After that the request is charged nothing."""


@dataclass(frozen=True)
class Embeddings:
    """``count`` rows of ``size`` float32, row after row in ``rows``."""

    rows: bytes
    count: int
    size: int
    prompt_eval_count: int


class RunnerClient(RunnerProcess):
    """A loaded model in a process of its own. Create it by `start`.

    The cost of a request goes to `current_meter`, for a cancelled one when the runner reports it.
    """

    def __init__(self, spec: LoadSpec) -> None:
        super().__init__(spec)
        self._unsettled: dict[int, CostReport] = {}
        self.exited.add_done_callback(lambda _: self._settle_all())

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
        sharing: PrefixSharing = OWN_PREFIXES,
        adapters: int = 0,
    ) -> AsyncGenerator[Truncated | Progress | Text | Done]:
        """Yield the parts of an answer as they arrive, without ``stream`` all at once, then Done.

        Truncated comes first if the prompt was cut. Closing the generator cancels the request in
        the runner. See Generate for the arguments. Raises OllamaError.
        """
        command = Generate(
            next(self._numbers),
            prompt,
            options,
            truncate=truncate,
            shift=shift,
            return_context=return_context,
            stream=stream,
            constraint=constraint,
            logprobs=logprobs,
            must_call=must_call,
            progress=progress,
            sharing=sharing,
            adapters=adapters,
        )
        report = CostReport()
        answers = self._ask(command)
        try:
            async for event in answers:
                assert isinstance(event, Truncated | Progress | Text | Done)
                report.take(event)
                yield event
        except OllamaError:
            report.settle()
            raise
        finally:
            self._settle_later(command.request, report)
            await answers.aclose()

    def _settle_later(self, request: int, report: CostReport) -> None:
        """Settle the cost of a request, for a cancelled one when the runner reports it."""
        unread = self._requests.get(request)
        while unread and not unread.empty():
            report.take(unread.get_nowait())
        if not report.is_open:
            return
        self._unsettled[request] = report
        asyncio.get_running_loop().call_later(LONGEST_STEP, self._settle_unreported, request)

    def _settle_unreported(self, request: int) -> None:
        if report := self._unsettled.pop(request, None):
            report.settle()

    def _settle_all(self) -> None:
        for request in [*self._unsettled]:
            self._settle_unreported(request)

    def _dispatch(self, event: Event) -> None:
        if isinstance(event, Done) and (report := self._unsettled.pop(event.request, None)):
            report.take(event)
        else:
            super()._dispatch(event)

    async def _embedded(self, command: Embed) -> Embeddings:
        report = CostReport()
        try:
            event = await self._answer(command)
            assert isinstance(event, Embedded)
            report.settle(event.prompt_eval_count)
        finally:
            report.settle()
        return Embeddings(event.rows, event.count, event.size, event.prompt_eval_count)

    async def embed(
        self,
        texts: list[str],
        num_ctx: int,
        *,
        truncate: bool = True,
        normalize: bool = True,
        adapters: int = 0,
    ) -> Embeddings:
        """Return the embeddings of texts, each cut to ``num_ctx`` tokens if ``truncate``."""
        if not texts:
            return Embeddings(b"", 0, 0, 0)
        number = next(self._numbers)
        return await self._embedded(
            Embed(
                number,
                texts,
                num_ctx,
                truncate=truncate,
                normalize=normalize,
                adapters=adapters,
            )
        )

    async def rerank(
        self,
        query: str,
        documents: list[str],
        num_ctx: int,
        *,
        truncate: bool = True,
        adapters: int = 0,
    ) -> Embeddings:
        """Return a row for each document, whose first number is its relevance to the query."""
        number = next(self._numbers)
        return await self._embedded(
            Embed(
                number,
                documents,
                num_ctx,
                truncate=truncate,
                normalize=False,
                query=query,
                adapters=adapters,
            )
        )

    async def score(
        self,
        prompt: str | ChatPrompt,
        continuations: list[str],
        num_ctx: int,
        *,
        raw: bool = False,
        sharing: PrefixSharing = OWN_PREFIXES,
        adapters: int = 0,
    ) -> Scored:
        """Return the log-probabilities of each continuation after ``prompt``.

        A text is read without a template. With ``raw`` the texts may name special tokens. Raises
        OllamaError(400) if a continuation does not fit into ``num_ctx`` tokens with the prompt.
        """
        number = next(self._numbers)
        command = Score(
            number, prompt, continuations, num_ctx, raw=raw, sharing=sharing, adapters=adapters
        )
        report = CostReport()
        try:
            event = await self._answer(command)
            assert isinstance(event, Scored)
            read = event.prompt_eval_count + sum(map(len, event.continuations))
            report.settle(read, event.cached)
        finally:
            report.settle()
        return event

    async def tokenize(
        self, text: str, *, special: bool = True, parse_special: bool = True
    ) -> Tokenized:
        """Return the tokens of a text; see Tokenize for the arguments."""
        command = Tokenize(next(self._numbers), text, special=special, parse_special=parse_special)
        event = await self._answer(command)
        assert isinstance(event, Tokenized)
        return event

    async def count(self, text: str) -> int:
        """Return the number of tokens of a text, names of special tokens read as such."""
        return len((await self.tokenize(text, special=False)).tokens)

    async def detokenize(self, tokens: list[int], *, special: bool = False) -> str:
        """Return the text of tokens. Raises OllamaError(400) for unknown tokens."""
        event = await self._answer(Detokenize(next(self._numbers), tokens, special=special))
        assert isinstance(event, Detokenized)
        return event.text

    async def resize(self, num_ctx: int) -> None:
        """Grow the contexts to sequences of ``num_ctx`` tokens, and update ``ready``.

        Raises OllamaError, and changes nothing, if there is too little memory.
        """
        event = await self._answer(Resize(next(self._numbers), num_ctx))
        assert isinstance(event, Resized)

    async def load_adapters(self, number: int, paths: Sequence[str]) -> tuple[int, int]:
        """Load LoRA adapters as the set ``number``, which no other files ever have.

        Returns their bytes, all of them and those on GPUs. Raises OllamaError; LoadRefused, with
        the shortage of memory, if the runner continues without them.
        """
        event = await self._answer(LoadAdapters(next(self._numbers), number, list(paths)))
        if isinstance(event, AdaptersRefused):
            raise LoadRefused(LoadFailed(event.message, event.required, event.available))
        assert isinstance(event, AdaptersLoaded)
        return event.size, event.size_vram

    def free_adapters(self, number: int) -> None:
        """Free a set of adapters that no request uses any more."""
        if self.is_alive:
            self._send(FreeAdapters(next(self._numbers), number))

    async def render(
        self, prompt: Prompt, num_ctx: int, sharing: PrefixSharing = OWN_PREFIXES
    ) -> Rendered:
        """Return the rendered text of a prompt, and its numbers of tokens and images."""
        event = await self._answer(Render(next(self._numbers), prompt, num_ctx, sharing=sharing))
        assert isinstance(event, Rendered)
        return event
