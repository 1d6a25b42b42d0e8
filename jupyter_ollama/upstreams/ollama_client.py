"""The client of upstreams that speak Ollama's API: Ollama, or another jupyter_ollama."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any

import msgspec

from ..engine.events import Done, Logprob, Text
from ..engine.runner_client import Embeddings
from ..prompt.messages import ToolCall
from .connection import Connection
from .encoding import LONG_BODY
from .ollama_bodies import answer_body
from .task import EmbedTask, GenerateTask, Listed, Tally, count_of, estimate
from .vectors import embeddings_of

LONGEST_LIST = 8 * 2**20
"""Bytes of a list of models: a thousand with all details take one MB."""

MOST_MODELS = 1000

LONGEST_SHOW = 2 * 2**20
"""Bytes of the description of a model: licenses, templates and the list of tensors."""

LONGEST_NAME = 350


class LogprobLine(msgspec.Struct):
    """The log-probability of a token, as both APIs have it."""

    token: str = ""
    logprob: float = 0.0
    bytes: list[int] | None = None
    top_logprobs: list[LogprobLine] | None = None

    def event(self) -> Logprob:
        """Return it as the engine's. Raises ValueError for bytes that are none."""
        piece = bytes(self.bytes) if self.bytes else self.token.encode("utf-8", "replace")
        return Logprob(piece, self.logprob, [one.event() for one in self.top_logprobs or ()])


class _Message(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[ToolCall] | None = None


class _Line(msgspec.Struct):
    message: _Message | None = None
    response: str | None = None
    thinking: str | None = None
    logprobs: list[LogprobLine] | None = None
    done: bool = False
    done_reason: str | None = None
    stop_sequence: str = ""
    repetition: bool = False
    truncated: int = 0
    prompt_eval_count: int = 0
    prompt_eval_cached_count: int = 0
    prompt_eval_duration: int = 0
    eval_count: int = 0
    eval_duration: int = 0
    error: Any = None


_lines = msgspec.json.Decoder(_Line)


class OllamaClient:
    """Asks an upstream by Ollama's API; see `UpstreamClient`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._failures = connection.failures

    async def models(self, seconds: float) -> list[Listed]:
        """List the models."""
        body = await self._connection.get("/api/tags", seconds, LONGEST_LIST)
        return [_listed(one) for one in self._entries(body)][:MOST_MODELS]

    async def show(self, model: str, seconds: float) -> dict[str, Any]:
        """Return what the upstream says about a model."""
        asked = {"model": model}
        body = await self._connection.post(
            "/api/show", asked, seconds=seconds, max_bytes=LONGEST_SHOW
        )
        return body if isinstance(body, dict) else {}

    async def running(self, seconds: float) -> list[dict[str, Any]]:
        """Return the loaded models."""
        body = await self._connection.get("/api/ps", seconds, LONGEST_LIST)
        return self._entries(body)[:MOST_MODELS]

    def _entries(self, body: Any) -> list[dict[str, Any]]:
        models = body.get("models") if isinstance(body, dict) else None
        if not isinstance(models, list):
            raise self._failures.nonsense("no list of models")
        found = (one for one in models if isinstance(one, dict))
        return [one for one in found if is_name(one.get("model") or one.get("name"))]

    async def generate(self, model: str, task: GenerateTask) -> AsyncGenerator[Text | Done]:
        """Yield the parts of an answer, then Done."""
        path, body = answer_body(model, task)
        tally = Tally()
        async with self._connection.stream(path, body, task.hops) as lines:
            while (raw := await lines.next()) is not None:
                try:
                    line = _lines.decode(raw)
                    text = _text(line)
                except (ValueError, RecursionError):
                    raise self._failures.nonsense("a line that is not of Ollama's API") from None
                if line.error:
                    raise self._failures.reported(line.error)
                lines.progressed()
                if text.text or text.thinking or text.tool_calls or text.logprobs:
                    tally.add(text.text + text.thinking)
                    yield text
                if line.done:
                    yield _done(line, task.estimated_tokens, tally.tokens)
                    await lines.finish()
                    return
        raise self._failures.broken("the answer has no end")

    async def embed(self, model: str, task: EmbedTask) -> Embeddings:
        """Return the embeddings of texts, unit vectors if the task wants them so."""
        connection, hops = self._connection, task.hops
        if not task.normalize:
            rows: list[Any] = []
            for text in task.texts:
                prompt = {"model": model, "prompt": text}
                answer = await connection.post("/api/embeddings", prompt, hops)
                rows.append(answer.get("embedding") if isinstance(answer, dict) else None)
            return embeddings_of(self._failures, rows, len(task.texts), estimate(*task.texts))
        body = {"model": model, "input": task.texts, "truncate": task.truncate}
        answer = await connection.post("/api/embed", body, hops)
        found = answer if isinstance(answer, dict) else {}
        tokens = count_of(found.get("prompt_eval_count")) or estimate(*task.texts)
        vectors = found.get("embeddings")
        arguments = (self._failures, vectors, len(task.texts), tokens, True)
        if isinstance(vectors, list) and len(vectors) * 1024 > LONG_BODY:
            return await asyncio.to_thread(embeddings_of, *arguments)
        return embeddings_of(*arguments)


def _text(line: _Line) -> Text:
    message = line.message or _Message(line.response)
    return Text(
        0,
        message.content or "",
        message.thinking or line.thinking or "",
        message.tool_calls or [],
        [one.event() for one in line.logprobs or ()],
    )


def _done(line: _Line, prompt: int, written: int) -> Done:
    """Return the end; the numbers of tokens are estimates for those that are not stated."""
    return Done(
        0,
        "length" if line.done_reason == "length" else "stop",
        count_of(line.prompt_eval_count) or prompt,
        max(0, line.prompt_eval_duration),
        count_of(line.eval_count) or written,
        max(0, line.eval_duration),
        count_of(line.truncated),
        count_of(line.prompt_eval_cached_count),
        stop=line.stop_sequence,
        repetition=line.repetition,
    )


def _listed(entry: dict[str, Any]) -> Listed:
    details = entry.get("details")
    details = details if isinstance(details, dict) else {}
    capabilities = entry.get("capabilities")
    digest = entry.get("digest")
    return Listed(
        name=entry.get("model") or entry["name"],
        digest=digest if isinstance(digest, str) else "",
        size=_natural(entry.get("size")),
        modified=_seconds(entry.get("modified_at")),
        capabilities=texts_of(capabilities) if isinstance(capabilities, list) else None,
        context_length=count_of(details.get("context_length")),
        embedding_length=count_of(details.get("embedding_length")),
        details=details,
    )


def is_name(value: Any) -> bool:
    """Return whether a foreign value can name a model."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME


def texts_of(values: list[Any]) -> tuple[str, ...]:
    """Return the texts of a foreign list."""
    return tuple(one for one in values[:100] if isinstance(one, str))


def _natural(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 2**63 else 0


def _seconds(value: Any) -> float:
    try:
        return max(0.0, datetime.fromisoformat(value).timestamp())
    except (TypeError, ValueError, OverflowError, OSError):
        return 0.0
