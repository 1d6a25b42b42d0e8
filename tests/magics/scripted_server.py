"""A small server on loopback that speaks a few Ollama routes and answers by script."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

from tornado import web
from tornado.iostream import StreamClosedError

MODELS = [
    {
        "name": name,
        "model": name,
        "size": size,
        "digest": digest * 64,
        "modified_at": "2026-01-02T03:04:05.678901234Z",
        "details": {"family": family, "parameter_size": "135M", "quantization_level": "Q8_0"},
        "capabilities": [capability],
    }
    for name, size, digest, family, capability in [
        ("smollm2:135m", 145_000_000, "a", "llama", "completion"),
        ("all-minilm:latest", 46_000_000, "b", "bert", "embedding"),
    ]
]


class ScriptedServer:
    """The server's models, answers and requests. ``steps`` is the next answer of /api/chat.

    A step is a text to send, seconds to wait (a number), a dict to send as a line, or "…drop" to
    cut the connection.
    """

    def __init__(self) -> None:
        self.url = ""
        self.models: list[dict[str, Any]] = [dict(model) for model in MODELS]
        self.steps: list[Any] = ["Hello", " there", "."]
        self.failure: tuple[int, str, str] | None = None
        self.requests: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.disconnected = threading.Event()
        self.streaming = threading.Event()
        self.embed_delay = 0.0
        self.blobs: dict[str, int] = {}
        self.rights: dict[str, bool] = {}

    def bodies(self, path: str) -> list[dict[str, Any]]:
        """Return the bodies of the requests to ``path``."""
        return [body for where, body, _ in self.requests if where == path]


class _Handler(web.RequestHandler):
    def initialize(self, script: ScriptedServer) -> None:
        self.script = script

    def prepare(self) -> None:
        body = self.request.body
        value = json.loads(body) if body[:1] == b"{" else {}
        self.script.requests.append((self.request.path, value, dict(self.request.headers)))
        if self.script.failure:
            status, kind, text = self.script.failure
            self.set_status(status)
            self.set_header("Content-Type", kind)
            self.finish(text)

    def on_connection_close(self) -> None:
        self.script.disconnected.set()


class Chat(_Handler):
    async def post(self) -> None:
        model = json.loads(self.request.body)["model"]
        known = {entry["name"].removesuffix(":latest") for entry in self.script.models}
        if model.removesuffix(":latest") not in known:
            self.set_status(404)
            self.finish({"error": f"model '{model}' not found"})
            return
        self.set_header("Content-Type", "application/x-ndjson")
        self.script.streaming.set()
        try:
            for step in self.script.steps:
                if step == "…drop":
                    self.request.connection.stream.close()
                    return
                await self._take(step, model)
        except StreamClosedError:
            return
        if not isinstance(self.script.steps[-1], dict):
            await self._line({"model": model, "message": {"content": ""}, **DONE})

    async def _take(self, step: Any, model: str) -> None:
        if isinstance(step, str):
            await self._line(
                {"model": model, "message": {"role": "assistant", "content": step}, "done": False}
            )
        elif isinstance(step, dict):
            await self._line(step)
        else:
            await asyncio.sleep(step)

    async def _line(self, item: dict[str, Any]) -> None:
        self.write(json.dumps(item, ensure_ascii=False).encode() + b"\n")
        await self.flush()


class Pull(_Handler):
    async def post(self) -> None:
        for step in self.script.steps:
            if isinstance(step, dict):
                self.write(json.dumps(step).encode() + b"\n")
                await self.flush()
            else:
                await asyncio.sleep(step)


DONE = {
    "done": True,
    "done_reason": "stop",
    "total_duration": 3_000_000_000,
    "load_duration": 1_200_000_000,
    "prompt_eval_count": 12,
    "eval_count": 40,
    "eval_duration": 2_000_000_000,
}


class Embed(_Handler):
    async def post(self) -> None:
        body = json.loads(self.request.body)
        await asyncio.sleep(self.script.embed_delay)
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        vectors = [[float(len(text)), float(ord(text[0])), 0.5] for text in texts]
        self.finish({"embeddings": [v[: body.get("dimensions") or 3] for v in vectors]})


class Tags(_Handler):
    def get(self) -> None:
        self.finish({"models": self.script.models})


class Ps(_Handler):
    def get(self) -> None:
        entry = {**MODELS[0], "size_vram": 0, "context_length": 4096}
        self.finish({"models": [{**entry, "expires_at": "2318-01-01T00:00:00+00:00"}]})


class Show(_Handler):
    def post(self) -> None:
        name = json.loads(self.request.body)["model"]
        if name not in [entry["name"] for entry in self.script.models]:
            self.set_status(404)
            self.finish({"error": f"model '{name}' not found"})
            return
        self.finish(
            {
                "details": MODELS[0]["details"],
                "model_info": {"general.architecture": "llama", "llama.context_length": 8192},
                "capabilities": ["completion"],
                "parameters": 'temperature          0.2\nstop          "<|im_end|>"',
                "license": "Apache License\nVersion 2.0",
            }
        )


class Version(_Handler):
    def get(self) -> None:
        self.finish({"version": "0.99.1"})


class Usage(_Handler):
    def get(self) -> None:
        if not self.script.rights:
            raise web.HTTPError(404)
        self.finish({"user": "ann", "rights": self.script.rights})


@web.stream_request_body
class Blob(_Handler):
    def prepare(self) -> None:
        self.size = 0

    def data_received(self, chunk: bytes) -> None:
        self.size += len(chunk)

    def head(self, digest: str) -> None:
        self.set_status(200 if digest in self.script.blobs else 404)

    def post(self, digest: str) -> None:
        self.script.blobs[digest] = self.size
        self.set_status(201)


class Quiet(_Handler):
    def post(self) -> None:
        self.finish()

    delete = post


def application(script: ScriptedServer) -> web.Application:
    """Return the routes of ``script`` at the root and below /user/x@y/ollama."""
    handlers: list[tuple[str, type[web.RequestHandler]]] = [
        ("/api/chat", Chat),
        ("/api/generate", Chat),
        ("/api/embed", Embed),
        ("/api/pull", Pull),
        ("/api/tags", Tags),
        ("/api/ps", Ps),
        ("/api/show", Show),
        ("/api/version", Version),
        ("/usage", Usage),
        ("/api/copy", Quiet),
        ("/api/delete", Quiet),
        ("/api/blobs/(.*)", Blob),
    ]
    return web.Application(
        [
            (rf"(?:/user/x@y/ollama)?{path}", handler, {"script": script})
            for path, handler in handlers
        ]
    )
