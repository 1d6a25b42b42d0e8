"""The parts of an answer in OpenAI's form, as the engine's events."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import orjson

from ..engine.events import Done, Logprob, Text
from ..prompt.messages import ToolCall, ToolCallFunction
from .failures import Failures
from .ollama_client import LogprobLine
from .task import GenerateTask, Tally, count_of


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    message: _Delta | None = None
    text: str | None = None
    logprobs: dict[str, Any] | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


_chunks = msgspec.json.Decoder(_Chunk)


class Answer:
    """Collects an answer: texts go out as they arrive, calls when they are complete."""

    def __init__(self, failures: Failures, task: GenerateTask) -> None:
        self._failures = failures
        self._task = task
        self._began = time.perf_counter_ns()
        self._first_at = 0
        self._tally = Tally()
        self._calls: dict[int, tuple[str, list[str], list[str]]] = {}
        self._reason = ""
        self._stop = ""
        self._usage: dict[str, Any] = {}

    def of(self, data: bytes) -> Iterator[Text]:
        """Yield the texts of a chunk. Raises UpstreamFailure."""
        try:
            chunk = _chunks.decode(data)
        except (ValueError, RecursionError):
            raise self._nonsense() from None
        if chunk.error:
            raise self._failures.reported(chunk.error)
        self._usage = chunk.usage or self._usage
        for choice in (chunk.choices or ())[:1]:
            yield from self._of_choice(choice)

    def _of_choice(self, choice: _Choice) -> Iterator[Text]:
        delta = choice.delta or choice.message or _Delta(choice.text)
        self._take_calls(delta.tool_calls or [])
        if choice.finish_reason:
            self._reason = choice.finish_reason
        if isinstance(choice.stop_reason, str):
            self._stop = choice.stop_reason
        said = (delta.content or "") + (delta.refusal or "")
        thoughts = delta.reasoning_content or delta.reasoning or ""
        try:
            probabilities = list(_logprobs(choice.logprobs or {}))
        except (ValueError, TypeError, RecursionError):
            raise self._nonsense() from None
        if said or thoughts or probabilities:
            self._count(said + thoughts)
            yield Text(0, said, thoughts, logprobs=probabilities)

    def _count(self, text: str) -> None:
        self._first_at = self._first_at or time.perf_counter_ns()
        self._tally.add(text)

    def _take_calls(self, calls: list[_Call]) -> None:
        for place, call in enumerate(calls):
            index = place if call.index is None else call.index
            function = call.function or _Function()
            _, names, arguments = self._calls.setdefault(index, (call.id or "", [], []))
            names.append(function.name or "")
            arguments.append(function.arguments or "")
            self._count((function.name or "") + (function.arguments or ""))

    def calls(self) -> Iterator[Text]:
        """Yield the calls of tools. Raises UpstreamFailure for arguments that are no object."""
        found = []
        for index, (id, names, arguments) in sorted(self._calls.items()):
            text = "".join(arguments)
            try:
                value = orjson.loads(text) if text.strip() else {}
            except orjson.JSONDecodeError:
                if self._reason == "length":  # cut within the arguments
                    continue
                value = None
            if not isinstance(value, dict):
                raise self._failures.unusable("a tool call whose arguments are no JSON object")
            found.append(ToolCall(ToolCallFunction("".join(names), value, index), id))
        if found:
            yield Text(0, tool_calls=found)

    def done(self) -> Done:
        """Return the end. Raises UpstreamFailure if the answer has none."""
        if not self._reason:
            raise self._failures.broken("the answer has no end")
        now = time.perf_counter_ns()
        first = self._first_at or now
        usage = self._usage
        details = usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else 0
        prompt = count_of(usage.get("prompt_tokens")) or self._task.estimated_tokens
        return Done(
            0,
            "length" if self._reason == "length" else "stop",
            prompt,
            first - self._began,
            count_of(usage.get("completion_tokens")) or self._tally.tokens,
            now - first,
            cached=min(count_of(cached), prompt),
            stop=self._stop,
        )

    def _nonsense(self) -> Exception:
        return self._failures.nonsense("a part that is not of OpenAI's API")


def _logprobs(found: dict[str, Any]) -> Iterator[Logprob]:
    """Yield log-probabilities, of chats or in the columns of the older API."""
    if content := found.get("content"):
        for line in msgspec.convert(content, list[LogprobLine]):
            yield line.event()
        return
    tokens, values = found.get("tokens") or [], found.get("token_logprobs") or []
    tops = found.get("top_logprobs") or []
    for place, (token, value) in enumerate(zip(tokens, values, strict=False)):
        top = tops[place] if place < len(tops) else None
        likely = [_logprob(text, number) for text, number in (top or {}).items()]
        yield _logprob(token, value or 0.0, likely)


def _logprob(token: str, value: float, top: list[Logprob] | None = None) -> Logprob:
    return Logprob(token.encode("utf-8", "replace"), float(value), top or [])
