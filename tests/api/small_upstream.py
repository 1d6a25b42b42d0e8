"""A small upstream on loopback: it lists the model "m" and answers requests as a test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

Reaction = Callable[[asyncio.StreamWriter], Awaitable[None]]

MODELS = {
    "/api/tags": {"models": [{"model": "m:latest", "capabilities": ["completion", "tools"]}]},
    "/v1/models": {"object": "list", "data": [{"id": "m", "object": "model"}]},
}


def head(kind: str = "application/x-ndjson", status: str = "200 OK", more: str = "") -> bytes:
    """Return the head of a response whose body ends with the connection."""
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{more}Connection: close\r\n\r\n".encode()


class SmallUpstream:
    """Answers lists itself; ``react`` writes the response to any other request, then it hangs up.

    ``heads`` and ``bodies`` are those of the requests so far, lists included.
    """

    def __init__(self) -> None:
        self.react: Reaction = self.nothing
        self.lists: dict[str, Any] = MODELS
        self.heads: list[str] = []
        self.bodies: list[Any] = []
        self.open = 0
        self.url = ""

    async def nothing(self, writer: asyncio.StreamWriter) -> None:
        """Hang up at once."""

    def says(self, *chunks: bytes, pause: float = 0.0) -> None:
        """Answer with these bytes from now on."""

        async def react(writer: asyncio.StreamWriter) -> None:
            for chunk in chunks:
                writer.write(chunk)
                await writer.drain()
                await asyncio.sleep(pause)

        self.react = react

    @property
    def asked(self) -> list[str]:
        """The first lines of the requests that were no lists."""
        firsts = (one.split("\r\n")[0] for one in self.heads)
        return [one for one in firsts if not one.startswith("GET")]

    async def _reacted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """React until the client hangs up."""
        tasks = [asyncio.ensure_future(one) for one in (self.react(writer), reader.read(1))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(request)
            fields = dict(
                line.lower().split(": ", 1) for line in request.split("\r\n")[1:] if ": " in line
            )
            length = int(fields.get("content-length", 0))
            body = await reader.readexactly(length)
            self.bodies.append(json.loads(body) if body else None)
            path = request.split(" ")[1]
            if path in self.lists:
                writer.write(head("application/json") + json.dumps(self.lists[path]).encode())
            else:
                await self._reacted(reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()


@asynccontextmanager
async def small_upstream(port: int = 0) -> AsyncIterator[SmallUpstream]:
    """Run one; leaving the block ends it and its connections."""
    upstream = SmallUpstream()
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        try:
            await upstream._serve(reader, writer)
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    upstream.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield upstream
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
