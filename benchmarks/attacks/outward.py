"""The cost of pages that users fetch through the server, and attempts to reach inside hosts."""

from __future__ import annotations

import asyncio
import resource
import time
from typing import Any

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.errors import OllamaError

PAGE = b"<html><head><title>T</title></head><body><article>%s</article></body></html>" % (
    b"<p>Some words to read, and some more words to read.</p>\n" * 200
)
INSIDE = (
    *("127.0.0.2", "127.2", "2130706434", "0x7f.0.0.2", "127.0.0.2.", "[::ffff:127.0.0.2]"),
    *("[64:ff9b::127.0.0.2]", "[2002:7f00:2::]", "[2001:0:7f00:2::]", "0.0.0.0", "localhost"),
    *("169.254.169.254", "100.100.100.200", "192.0.0.192", "168.63.129.16", "[fd00:ec2::254]"),
    *("[fe80::a9fe:a9fe]", "metadata.google.internal", "10.0.0.1", "100.64.0.1", "198.18.0.1"),
)
"""Spellings of hosts that no user should reach through the server."""


class Site:
    """A site on loopback with one page."""

    def __init__(self, page: bytes) -> None:
        self.asked = 0
        self._page = page

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(self._page)}"
        writer.write(head.encode() + b"\r\n\r\n" + self._page)
        await writer.drain()
        writer.close()


async def pages(count: int, page: bytes = PAGE, **traits: Any) -> dict[str, Any]:
    """Fetch a page ``count`` times, one after the other.

    Returns seconds of the first and of the median of the others, processor seconds of the readers,
    and how many processes read.
    """
    site = Site(page)
    listening = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    server = OllamaServer(
        web_fetch=True, web_allowed_addresses=["127.0.0.1"], web_requests_per_minute=0, **traits
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    times = []
    for _ in range(count):
        start = time.perf_counter()
        await server.pages.fetch(url, "ann")
        times.append(time.perf_counter() - start)
    await server.stop()
    listening.close()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    processes = -(-count // server.web_reader_pages)
    return {
        "first_seconds": round(times[0], 3),
        "median_seconds": round(sorted(times[1:])[len(times[1:]) // 2], 3),
        "processor_seconds": round(busy, 2),
        "processes": processes,
    }


async def inside() -> dict[str, Any]:
    """Fetch pages of hosts inside; returns how many spellings were tried, refused and reached."""
    site = Site(PAGE)
    listening = [await asyncio.start_server(site.serve, "127.0.0.1", 0)]
    port = listening[0].sockets[0].getsockname()[1]
    listening.append(await asyncio.start_server(site.serve, "127.0.0.2", port))
    server = OllamaServer(web_fetch=True, web_requests_per_minute=0)
    refused = 0
    for host in INSIDE:
        try:
            await server.pages.fetch(f"http://{host}:{port}/", "ann")
        except OllamaError as error:
            refused += error.status == 403
    await server.stop()
    for one in listening:
        one.close()
    return {"tried": len(INSIDE), "refused": refused, "reached": site.asked}


async def outward(count: int = 50) -> dict[str, Any]:
    """Run all attacks and return the figures."""
    return {
        "inside": await inside(),
        "pages": await pages(count),
        "pages, a process for each": await pages(count, web_reader_pages=1),
    }
