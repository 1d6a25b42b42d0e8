"""The plainest HTTP client: it shares the processor with the server that it measures."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.request import urlopen

HOST = "127.0.0.1"


class Refused(Exception):
    """A request was answered by something other than 200, or not at all."""


@dataclass(frozen=True)
class Answer:
    """An answer: when it was requested, and its pieces of text with the times of their arrival.

    Times are seconds of one clock. ``count`` is the number of its tokens; ``ended`` is True if the
    model ended it by itself.
    """

    asked: float
    pieces: list[tuple[float, str]]
    count: int
    ended: bool

    @property
    def times(self) -> list[float]:
        """When each piece arrived."""
        return [when for when, _ in self.pieces]

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(text for _, text in self.pieces)

    @property
    def ttft(self) -> float:
        """Seconds to the first text."""
        return self.times[0] - self.asked


Line = tuple[float, dict[str, Any]]


async def post(port: int, path: str, body: dict[str, Any]) -> list[Line]:
    """Send a request on a connection of its own; return each JSON line with its arrival time.

    Takes NDJSON as well as server-sent events. Raises Refused.
    """
    try:
        reader, writer = await asyncio.open_connection(HOST, port, limit=2**26)
    except OSError as error:
        raise Refused(f"{path}: {error}") from None
    try:
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data)
        status = await reader.readline()
        lines = []
        # Nothing is decoded before the end: other streams are being timed.
        async for line in reader:
            if line.startswith((b"{", b"data: {")):
                lines.append((time.perf_counter(), line))
    except ConnectionError as error:
        raise Refused(f"{path}: {error}") from None
    finally:
        writer.close()
    if b" 200 " not in status:
        text = lines[0][1] if lines else b""
        raise Refused(f"{path}: {status.decode().strip()} {text[:300].decode()}")
    return [(when, json.loads(line.removeprefix(b"data: "))) for when, line in lines]


def get(port: int, path: str) -> Any:
    """Return the JSON of a GET. Raises OSError."""
    with urlopen(f"http://{HOST}:{port}{path}", timeout=5) as response:
        return json.load(response)
