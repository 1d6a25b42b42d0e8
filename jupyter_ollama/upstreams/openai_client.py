"""The client of upstreams that speak OpenAI's API: vLLM, llama-server and others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from ..engine.events import Done, Text
from ..engine.runner_client import Embeddings
from .connection import Connection
from .encoding import LONG_BODY
from .ollama_client import LONGEST_LIST, MOST_MODELS, is_name
from .openai_answers import Answer
from .openai_bodies import answer_body
from .reading import Lines
from .task import EmbedTask, GenerateTask, Listed, count_of, estimate
from .vectors import embeddings_of

_DONE = b"[DONE]"


class OpenAIClient:
    """Asks an upstream by OpenAI's API; see `UpstreamClient`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._failures = connection.failures

    async def models(self, seconds: float) -> list[Listed]:
        """List the models."""
        body = await self._connection.get("/models", seconds, LONGEST_LIST)
        models = body.get("data") if isinstance(body, dict) else None
        if not isinstance(models, list):
            raise self._failures.nonsense("no list of models")
        named = (one for one in models if isinstance(one, dict) and is_name(one.get("id")))
        return [_listed(one) for one in named][:MOST_MODELS]

    async def show(self, model: str, seconds: float) -> dict[str, Any]:
        """Return nothing: the API describes no models."""
        return {}

    async def running(self, seconds: float) -> list[dict[str, Any]]:
        """Return nothing: the API does not say what is loaded."""
        return []

    async def generate(self, model: str, task: GenerateTask) -> AsyncGenerator[Text | Done]:
        """Yield the parts of an answer, then Done."""
        path, body = answer_body(model, self._connection.spec, task)
        answer = Answer(self._failures, task)
        async with self._connection.stream(path, body, task.hops) as lines:
            if lines.content_type == "application/json":
                # A server without streams answers at once.
                for text in answer.of(await lines.rest()):
                    yield text
            else:
                while (data := await _next_event(lines)) is not None and data != _DONE:
                    lines.progressed()
                    for text in answer.of(data):
                        yield text
            for text in answer.calls():
                yield text
            yield answer.done()
            await lines.finish()

    async def embed(self, model: str, task: EmbedTask) -> Embeddings:
        """Return the embeddings of texts, unit vectors if the task wants them so."""
        connection = self._connection
        body = {"model": model, "input": task.texts, "encoding_format": "float"}
        answer = await connection.post("/embeddings", body, task.hops)
        found = answer if isinstance(answer, dict) else {}
        usage = found.get("usage")
        tokens = count_of(usage.get("prompt_tokens")) if isinstance(usage, dict) else 0
        data = found.get("data")
        vectors = (
            [
                one.get("embedding") if isinstance(one, dict) else None
                for one in sorted(data, key=_index)
            ]
            if isinstance(data, list)
            else None
        )
        texts = task.texts
        arguments = (
            self._failures,
            vectors,
            len(texts),
            tokens or estimate(*texts),
            task.normalize,
        )
        if len(texts) * 1024 > LONG_BODY:
            return await asyncio.to_thread(embeddings_of, *arguments)
        return embeddings_of(*arguments)


async def _next_event(lines: Lines) -> bytes | None:
    """Return the data of the next server-sent event, None at the end of the stream.

    Comments, which some servers send while a request waits, are no sign of progress.
    """
    while (line := await lines.next()) is not None:
        if line.startswith(b"data:"):
            return line[5:].strip()
        if not line.startswith((b":", b"event:", b"id:", b"retry:")):
            raise lines.failures.nonsense("a line that is no server-sent event")
    return None


def _index(entry: Any) -> int:
    return count_of(entry.get("index")) if isinstance(entry, dict) else 0


def _listed(entry: dict[str, Any]) -> Listed:
    """Read an entry; vLLM adds ``max_model_len``, llama-server ``meta``."""
    meta = entry.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    return Listed(
        name=entry["id"],
        modified=float(count_of(entry.get("created"))),
        context_length=count_of(entry.get("max_model_len")) or count_of(meta.get("n_ctx_train")),
        embedding_length=count_of(meta.get("n_embd")),
    )
