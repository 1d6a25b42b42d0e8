"""The common part of generate and chat after rendering: checks, the run, the final fields."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from ..engine.events import Done, Logprob, Progress, Text, Truncated
from ..engine.meter import charge_text
from ..engine.protocol import ChatPrompt, Constraint, RawPrompt, SuffixPrompt
from ..errors import OllamaError
from ..option_bounds import check_field
from ..scheduler.remote_model import RemoteModel
from .endpoint import Call, Reply, Stream, resolve_options
from .format import constraint
from .progress import Status, acquiring, prompt_status
from .request_bounds import check_bytes, check_options
from .timestamps import now_utc
from .wire import AnswerRequest, ThinkingBudget

if TYPE_CHECKING:
    from ..library.model import Model
    from ..scheduler.lease import Lease
    from ..scheduler.request import OnPosition

Prompt = ChatPrompt | SuffixPrompt | RawPrompt
Piece = tuple[Text, dict[str, Any] | None]
"""A part of an answer, and the final fields with the last part."""
Part = Callable[[Text, dict[str, Any] | None], dict[str, Any]]
"""Makes an object of the answer from a part and the final fields."""

NOTHING = Text(0)

MEDIA = frozenset({"vision", "audio"})
"""The capabilities of models that take files in ``images``."""

LEAST_LOGPROB = -9999.0
"""The value for impossible tokens, as in OpenAI's API: JSON has no infinities."""

TRUNCATED_HEADER = "X-Ollama-Truncated"
"""The header with the number of prompt tokens that were left out."""


def finite(logprob: float) -> float:
    """Return a log-probability that JSON can hold."""
    return max(logprob, LEAST_LOGPROB)


def logprobs_field(text: Text) -> dict[str, Any]:
    """Return the field with the log-probabilities of a part's tokens, if requested."""
    return {"logprobs": [_logprob(one) for one in text.logprobs]} if text.logprobs else {}


def _logprob(one: Logprob) -> dict[str, Any]:
    token = one.piece.decode("utf-8", "replace")
    entry = {"token": token, "logprob": finite(one.logprob), "bytes": list(one.piece)}
    return entry | {"top_logprobs": [_logprob(other) for other in one.top]} if one.top else entry


def check_ranges(request: AnswerRequest) -> None:
    """Raise OllamaError(400) for values that are invalid for every model."""
    check_field("top_logprobs", request.top_logprobs)


def check_capabilities(model: Model, request: AnswerRequest, task: str, needed: list[str]) -> None:
    """Raise OllamaError(400) if the model lacks a capability for ``task`` ("generate", "chat")."""
    if model.lacks("completion"):
        raise OllamaError(400, f'"{request.model}" does not support {task}')
    missing = [name for name in needed if model.lacks(name)]
    if request.debug_render_only:  # shows the places of images, as Ollama does for every model
        missing = [name for name in missing if name not in MEDIA]
    if missing:
        lines = (f'"{request.model}" does not support {name}' for name in missing)
        raise OllamaError(400, "\n".join(lines))


def resolve_think(model: Model, request: AnswerRequest) -> tuple[bool | str | None, int | None]:
    """Return the thinking mode of the template and the budget of thinking in tokens, if any.

    Models with that capability think by default.
    """
    think: bool | str | None
    budget: int | None = None
    if isinstance(request.think, ThinkingBudget):
        think, budget = request.think.level, request.think.tokens
    else:
        think = request.think
    if isinstance(model, RemoteModel):
        return _remote_think(model, think), budget
    if "thinking" in model.capabilities:
        return (True if think is None else think), budget
    if think:
        message = f'"{request.model}" does not support thinking'
        if model.config.model_family == "qwen3" or model.name.model == "deepseek-r1":
            message += ". Pull the model again to get the latest version with full thinking support"
        raise OllamaError(400, message)
    return think, None


def _remote_think(model: RemoteModel, think: bool | str | None) -> bool | str | None:
    """Return the thinking mode to ask an upstream for, None for its own default.

    Raises OllamaError(400) for a model that certainly does not think.
    """
    if think and model.lacks("thinking"):
        raise OllamaError(400, f'"{model.name.display}" does not support thinking')
    return None if not think and "thinking" not in model.capabilities else think


def resolve_truncate(call: Call, request: AnswerRequest) -> bool:
    """Return whether a prompt that is too long may be cut, by default the server's setting."""
    return call.server.truncate_prompts if request.truncate is None else request.truncate


@dataclass
class Run:
    """The run of one prompt through a model."""

    call: Call
    request: AnswerRequest
    model: Model
    prompt: Prompt
    return_context: bool = False
    forced_call: Constraint | None = None

    async def acquire(self, on_position: OnPosition | None = None) -> Lease:
        """Load the model if necessary and wait for a slot. Raises OllamaError."""
        options = resolve_options(self.model, self.request.options)
        check_options(self.call.server, options)
        if options.repetition_stop is None:
            options.repetition_stop = self.call.server.repetition_stop
        return await self.call.lease(
            self.model, self.request, on_position, options=options, generates=True
        )

    async def answer(self, part: Part, *, empty: bool) -> Reply | Stream:
        """Return the answer, whole or as a stream; an ``empty`` prompt only loads the model."""
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
        """Return the rendered prompt, for a model without media the text around them."""
        prompt, images = self.prompt, 0
        check_bytes("prompt", _length(prompt), self.call.server.max_tokenize_bytes)
        if not (isinstance(prompt, SuffixPrompt) or MEDIA & set(self.model.capabilities)):
            images = len(prompt.images)
            prompt = msgspec.structs.replace(prompt, images=[])
        async with await self.acquire() as lease:
            rendered = await lease.runner.render(prompt, lease.num_ctx, lease.sharing)
        charge_text(rendered.tokens)
        info = {"rendered_template": rendered.text, "prompt_eval_count": rendered.tokens}
        count = rendered.images or images
        return info | ({"image_count": count} if count else {})

    async def _pieces(self) -> AsyncGenerator[Piece | Status, None]:
        """Yield the answer while it is generated; `aclose` stops the model. Raises OllamaError.

        If the request asks for progress, it comes first.
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
        """Yield the lease, after the progress until then if the request asks for it."""
        if self._reports_progress:
            async with aclosing(acquiring(self.acquire)) as steps:
                async for step in steps:
                    yield step
        else:
            async with await self.acquire() as lease:
                yield lease

    @property
    def _reports_progress(self) -> bool:
        return self.request.progress and self.request.stream

    def _constraint(self) -> Constraint | None:
        # Ollama reads the empty schema as any object, not as any value.
        form = "json" if self.request.format == {} else self.request.format
        return self.forced_call or constraint(form)

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
            progress=self._reports_progress,
            sharing=lease.sharing,
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
                        if event.text:
                            # Clients read a part as thinking or as text, not as both.
                            yield Text(event.request, thinking=event.thinking), None
                            event = msgspec.structs.replace(event, thinking="")
                    yield event, None
                else:
                    yield NOTHING, await self._end(event, lease, "".join(thoughts))

    async def whole(self) -> Piece:
        """Return the whole answer and the final fields."""
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
            "eval_thinking_count": await lease.runner.count(thoughts) if thoughts else 0,
            "eval_duration": done.eval_duration,
            "truncated": done.truncated,
        }
        end: dict[str, Any] = {"done_reason": done.reason}
        if done.stop:
            end["stop_sequence"] = done.stop
        if done.repetition:
            end["repetition"] = True
        if warning := lease.grant.request.budgets.warning():
            end["budget_warning"] = warning
        if self.call.server.audits_text:
            end["audited"] = True
        if done.context:
            end["context"] = done.context
        return end | {name: value for name, value in metrics.items() if value}


def _length(prompt: Prompt) -> int:
    """Return the characters of the texts in a prompt."""
    if isinstance(prompt, ChatPrompt):
        return sum(len(message.content) + len(message.thinking) for message in prompt.messages)
    return len(prompt.text if isinstance(prompt, RawPrompt) else prompt.prompt + prompt.suffix)
