"""Runs requests on the upstreams of a model, and again on another one while nothing was sent."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

from ..engine.events import Done, Progress, Rendered, Scored, Text, Tokenized, Truncated
from ..engine.meter import CostReport
from ..engine.model_runner import Prompt
from ..engine.protocol import OWN_PREFIXES, ChatPrompt, Constraint, PrefixSharing
from ..engine.runner_client import Embeddings
from ..errors import OllamaError
from ..options import Options
from ..scheduler.request import current_request
from .failure import Kind, UpstreamFailure
from .task import EmbedTask, GenerateTask, Tally, UpstreamClient, estimate

if TYPE_CHECKING:
    from .choice import Choice
    from .member import Member

T = TypeVar("T")

AGAIN_AFTER = 0.1
"""Seconds before a request is sent to the same upstream again, about."""


class UpstreamRunner:
    """Passes requests on; see `ModelRunner`. ``choice`` picks the upstreams."""

    def __init__(self, choice: Choice, hops: int) -> None:
        self._choice = choice
        self._hops = hops

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
    ) -> AsyncGenerator[Truncated | Progress | Text | Done]:
        """Yield the parts of an answer; without ``stream`` one with all of it, then Done."""
        if isinstance(prompt, ChatPrompt) and (prompt.context or prompt.is_template_foreign):
            field = "context" if prompt.context else "template"
            raise self._cannot(f"take a {field} from a request", 400)
        task = GenerateTask(
            prompt, options, truncate, shift, constraint, logprobs, must_call, self._hops
        )

        def ask(client: UpstreamClient, model: str) -> AsyncGenerator[Text | Done]:
            answer = client.generate(model, task)
            return answer if stream else _whole(answer)

        report = CostReport()
        tally = Tally()
        try:
            async with aclosing(self._tried(ask)) as events:
                async for event in events:
                    if isinstance(event, Text):
                        tally.add(event.text + event.thinking)
                    elif event.truncated:
                        yield Truncated(0, event.truncated)
                    report.take(event)
                    yield event
        finally:
            if tally.tokens:
                # Without an end there is no count: the upstream has worked nevertheless.
                report.settle(task.estimated_tokens, 0, tally.tokens)
            report.settle()

    async def embed(
        self, texts: list[str], num_ctx: int, *, truncate: bool = True, normalize: bool = True
    ) -> Embeddings:
        """Return the embeddings of texts."""
        task = EmbedTask(texts, truncate, normalize, self._hops)

        async def ask(client: UpstreamClient, model: str) -> AsyncGenerator[Embeddings]:
            yield await client.embed(model, task)

        report = CostReport()
        try:
            async with aclosing(self._tried(ask)) as answers:
                found = await anext(answers)
            report.settle(found.prompt_eval_count)
            return found
        finally:
            report.settle()

    async def _tried(
        self, ask: Callable[[UpstreamClient, str], AsyncGenerator[T]]
    ) -> AsyncGenerator[T]:
        """Yield the answer of the first upstream that gives one. Raises OllamaError."""
        tried: list[Member] = []
        while True:
            member, model = self._choice.next(tried)
            if request := current_request.get():
                request.upstream = member.spec.name
            begun = False
            try:
                with member.serving():
                    async with aclosing(ask(member.client, model)) as answer:
                        async for part in answer:
                            if not begun:
                                member.succeeded()
                            begun = True
                            yield part
                    member.outcomes["answered"] += 1
                    return
            except UpstreamFailure as failure:
                member.failed(failure)
                if begun or not self._may_retry(failure, member, tried):
                    raise failure.error() from None
                member.outcomes["retried"] += 1
            if not self._choice.has_other(tried):
                await asyncio.sleep(AGAIN_AFTER * random.uniform(0.5, 1.5))

    def _may_retry(self, failure: UpstreamFailure, member: Member, tried: list[Member]) -> bool:
        """Return whether to try another upstream, or the same one once."""
        if failure.kind is Kind.REQUEST:
            return False
        tried.append(member)
        if self._choice.has_other(tried):
            return True
        return failure.kind in (Kind.DOWN, Kind.BROKEN) and len(tried) == 1

    def _cannot(self, what: str, status: int = 501) -> OllamaError:
        where = self._choice.described
        return OllamaError(status, f"{where}, which renders prompts itself and cannot {what}")

    async def rerank(
        self, query: str, documents: list[str], num_ctx: int, *, truncate: bool = True
    ) -> Embeddings:
        """Refuse: neither API has it."""
        raise self._cannot("rank documents")

    async def score(
        self,
        prompt: str | ChatPrompt,
        continuations: list[str],
        num_ctx: int,
        *,
        raw: bool = False,
        sharing: PrefixSharing = OWN_PREFIXES,
    ) -> Scored:
        """Refuse: neither API has it."""
        raise self._cannot("score continuations")

    async def tokenize(
        self, text: str, *, special: bool = True, parse_special: bool = True
    ) -> Tokenized:
        """Refuse: neither API has it."""
        raise self._cannot("tokenize")

    async def count(self, text: str) -> int:
        """Return the approximate number of tokens of a text."""
        return estimate(text)

    async def detokenize(self, tokens: list[int], *, special: bool = False) -> str:
        """Refuse: neither API has it."""
        raise self._cannot("detokenize")

    async def render(
        self, prompt: Prompt, num_ctx: int, sharing: PrefixSharing = OWN_PREFIXES
    ) -> Rendered:
        """Refuse: neither API has it."""
        raise self._cannot("show or count them")


async def _whole(answer: AsyncGenerator[Text | Done]) -> AsyncGenerator[Any]:
    """Yield the parts of an answer as one, so that a failure before its end can be retried."""
    whole = Text(0)
    texts: list[str] = []
    thoughts: list[str] = []
    async with aclosing(answer):
        async for event in answer:
            if isinstance(event, Done):
                whole.text, whole.thinking = "".join(texts), "".join(thoughts)
                yield whole
                yield event
                return
            texts.append(event.text)
            thoughts.append(event.thinking)
            whole.tool_calls += event.tool_calls
            whole.logprobs += event.logprobs
