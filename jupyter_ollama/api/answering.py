"""What generate and chat have in common once the prompt is made: checks, the run, the end."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..engine.protocol import (
    ChatPrompt,
    Constraint,
    Done,
    Logprob,
    Progress,
    RawPrompt,
    SuffixPrompt,
    Text,
    Truncated,
)
from ..errors import OllamaError
from ..options import Options, merge_options
from .endpoint import OLLAMA, Call, Reply, Stream
from .format import constraint
from .progress import Status, acquiring, prompt_status
from .timestamps import now_utc
from .wire import AnswerRequest

if TYPE_CHECKING:
    from ..library.model import Model
    from ..scheduler.queue import Tell
    from ..scheduler.scheduler import Lease

log = logging.getLogger(__name__)

Prompt = ChatPrompt | SuffixPrompt | RawPrompt
Piece = tuple[Text, dict[str, Any] | None]
"""A part of an answer, and with the last piece the fields that end the answer."""
Part = Callable[[Text, dict[str, Any] | None], dict[str, Any]]
"""Makes an object of the answer from such a part and end."""

NOTHING = Text(0)

LEAST_LOGPROB = -9999.0
"""What is told of impossible tokens: JSON has no infinities. OpenAI's API does the same."""

TRUNCATED_HEADER = "X-Ollama-Truncated"
"""Tells how many tokens of the prompt were left out, before the first of the answer comes."""


def finite(logprob: float) -> float:
    """Return a log-probability that JSON can hold."""
    return max(logprob, LEAST_LOGPROB)


def logprobs_field(text: Text) -> dict[str, Any]:
    """Return the field that tells of the tokens of a part, if it is to be told."""
    return {"logprobs": [_logprob(one) for one in text.logprobs]} if text.logprobs else {}


def _logprob(one: Logprob) -> dict[str, Any]:
    token = one.piece.decode("utf-8", "replace")
    told = {"token": token, "logprob": finite(one.logprob), "bytes": list(one.piece)}
    return told | {"top_logprobs": [_logprob(other) for other in one.top]} if one.top else told


def check_ranges(request: AnswerRequest) -> None:
    """Raise OllamaError(400) for values that no model could make right."""
    if not 0 <= request.top_logprobs <= 20:
        raise OllamaError(400, "top_logprobs must be between 0 and 20")


def check_capabilities(
    call: Call, model: Model, request: AnswerRequest, task: str, needed: list[str]
) -> None:
    """Raise OllamaError(400) if the model lacks what ``task`` ("generate", "chat") asks of it."""
    capabilities = model.capabilities
    if "completion" not in capabilities:
        raise OllamaError(400, f'"{request.model}" does not support {task}')
    # Ollama's clients know the qualified name, those of its neighbours what they have asked for.
    known_as = model.name.qualified if call.dialect is OLLAMA else f'"{request.model}"'
    missing = [name for name in needed if name not in capabilities]
    if missing:
        raise OllamaError(400, "\n".join(f"{known_as} does not support {name}" for name in missing))


def resolve_think(model: Model, request: AnswerRequest) -> bool | str | None:
    """Return how the template is to think: models that can do so unless told otherwise."""
    if "thinking" in model.capabilities:
        return True if request.think is None else request.think
    if request.think:
        message = f'"{request.model}" does not support thinking'
        if model.config.model_family == "qwen3" or model.name.model == "deepseek-r1":
            message += ". Pull the model again to get the latest version with full thinking support"
        raise OllamaError(400, message)
    return request.think


def resolve_truncate(call: Call, request: AnswerRequest) -> bool:
    """Return whether a prompt that is too long may be cut: the server decides unless told."""
    return call.server.truncate_prompts if request.truncate is None else request.truncate


def resolve_options(model: Model, asked: dict[str, Any]) -> Options:
    """Return the options for a request: its own over the model's over Ollama's defaults."""
    options, unknown = merge_options(model.params, asked)
    if unknown:
        log.warning("Options that nobody knows were ignored: %s", ", ".join(unknown))
    return options


@dataclass
class Run:
    """One prompt on its way through a model."""

    call: Call
    request: AnswerRequest
    model: Model
    prompt: Prompt
    return_context: bool = False
    forced_call: Constraint | None = None

    async def acquire(self, tell: Tell | None = None) -> Lease:
        """Load the model if need be and wait for a place. Raises OllamaError."""
        options = resolve_options(self.model, self.request.options)
        return await self.call.server.scheduler.acquire(
            self.model, options, self.request.keep_alive, tell
        )

    async def answer(self, part: Part, *, empty: bool) -> Reply | Stream:
        """Return what the client asked for; with an ``empty`` prompt only load the model."""
        if empty:
            async with await self.acquire():
                return Reply(part(NOTHING, {"done_reason": "load"}))
        if self.request.debug_render_only:
            return Reply(part(NOTHING, None) | {"_debug_info": await self._render()})
        if self.request.stream:
            return self._stream(part)
        return Reply(part(*await self.whole()))

    async def _stream(self, part: Part) -> Stream:
        async with aclosing(self._pieces()) as pieces:
            async for piece in pieces:
                if isinstance(piece, dict):
                    yield {"model": self.request.model, "created_at": now_utc()} | piece
                else:
                    yield part(*piece)

    async def _render(self) -> dict[str, Any]:
        """Return what the model would read."""
        async with await self.acquire() as lease:
            rendered = await lease.runner.render(self.prompt, lease.num_ctx)
        info = {"rendered_template": rendered.text, "prompt_eval_count": rendered.tokens}
        return info | ({"image_count": rendered.images} if rendered.images else {})

    async def _pieces(self) -> AsyncGenerator[Piece | Status, None]:
        """Yield the answer as it comes; closing this stops the model. Raises OllamaError.

        What happens before that is told as well where the request asks for it.
        """
        wanted = self._constraint()
        async with aclosing(self._leased()) as steps:
            async for step in steps:
                if isinstance(step, dict):
                    yield step
                    continue
                async with aclosing(self._run(step, wanted)) as pieces:
                    async for piece in pieces:
                        yield piece

    async def _leased(self) -> AsyncGenerator[Status | Lease, None]:
        """Yield the lease, after what happens until then if that is to be told."""
        if self._tells_progress:
            async with aclosing(acquiring(self.acquire)) as steps:
                async for step in steps:
                    yield step
        else:
            async with await self.acquire() as lease:
                yield lease

    @property
    def _tells_progress(self) -> bool:
        return self.request.progress and self.request.stream

    def _constraint(self) -> Constraint | None:
        return self.forced_call or constraint(self.request.format)

    async def _run(
        self, lease: Lease, wanted: Constraint | None
    ) -> AsyncGenerator[Piece | Status, None]:
        request = self.request
        thoughts: list[str] = []
        events = lease.runner.generate(
            self.prompt,
            lease.options,
            truncate=resolve_truncate(self.call, request),
            shift=request.shift,
            return_context=self.return_context,
            stream=request.stream,
            constraint=wanted,
            logprobs=request.top_logprobs if request.logprobs else None,
            must_call=self.forced_call is not None,
            progress=self._tells_progress,
        )
        async with aclosing(events):
            async for event in events:
                self.call.touch()
                if isinstance(event, Truncated):
                    self.call.headers[TRUNCATED_HEADER] = str(event.tokens)
                elif isinstance(event, Progress):
                    yield prompt_status(event)
                elif isinstance(event, Text):
                    if event.thinking:
                        thoughts.append(event.thinking)
                    yield event, None
                else:
                    yield NOTHING, await self._end(event, lease, "".join(thoughts))

    async def whole(self) -> Piece:
        """Return the whole answer and the fields of the end."""
        answer = Text(0)
        end: dict[str, Any] | None = None
        async with aclosing(self._pieces()) as pieces:
            async for piece in pieces:
                assert not isinstance(piece, dict)
                more, end = piece
                answer.text += more.text
                answer.thinking += more.thinking
                answer.tool_calls += more.tool_calls
                answer.logprobs += more.logprobs
        return answer, end

    async def _end(self, done: Done, lease: Lease, thoughts: str) -> dict[str, Any]:
        metrics = {
            "total_duration": time.perf_counter_ns() - self.call.started,
            "load_duration": lease.load_duration,
            "prompt_eval_count": done.prompt_eval_count,
            "prompt_eval_cached_count": done.cached,
            "prompt_eval_duration": done.prompt_eval_duration,
            "eval_count": done.eval_count,
            "eval_thinking_count": await _count(thoughts, lease) if thoughts else 0,
            "eval_duration": done.eval_duration,
            "truncated": done.truncated,
        }
        end: dict[str, Any] = {"done_reason": done.reason}
        if done.stop:
            end["stop_sequence"] = done.stop
        if done.context:
            end["context"] = done.context
        return end | {name: value for name, value in metrics.items() if value}


async def _count(text: str, lease: Lease) -> int:
    """Return how many tokens make a text."""
    return len((await lease.runner.tokenize(text, special=False)).tokens)
