"""A pool of processes that extract the text of pages, each ended when it fails."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import orjson

from ..child_environment import child_environment
from ..errors import OllamaError
from ..pipe_messages import pack, receive

if TYPE_CHECKING:
    from .settings import WebSettings

MAX_ANSWER = 32 * 2**20
"""The most bytes of a page's text and links. A process that announces more is faulty."""


class Readers:
    """At most ``web_readers`` processes, each serving one page after the other."""

    def __init__(self, settings: WebSettings) -> None:
        self._settings = settings
        self._turns = asyncio.Semaphore(settings.web_readers)
        self._idle: list[Reader] = []
        self._timer: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def read(self, html: bytes, url: str, charset: str) -> dict[str, Any]:
        """Return title, content and links of a page.

        Raises OllamaError: 502 for a page that cannot be read, 504 if that takes too long.
        """
        seconds = self._settings.web_reader_seconds
        async with self._turns:
            reader = await self._take()
            is_well = False
            try:
                async with asyncio.timeout(seconds):
                    page = await reader.read(html, url, charset)
                is_well = True
                return page
            except TimeoutError:
                raise OllamaError(504, f"{url} takes longer than {seconds:g} s to read") from None
            except (OSError, EOFError, ValueError):
                raise OllamaError(502, f"{url} cannot be read") from None
            finally:
                self._give_back(reader, is_well)

    async def close(self) -> None:
        """End all processes and wait for them."""
        self._closed = True
        self._end_idle()
        if self._ending:
            await asyncio.wait(self._ending)

    async def _take(self) -> Reader:
        while self._idle:
            reader = self._idle.pop()
            if reader.is_alive:
                return reader
        return await Reader.start(self._settings.web_reader_memory)

    def _give_back(self, reader: Reader, is_well: bool) -> None:
        worn_out = reader.pages >= self._settings.web_reader_pages
        if not is_well or worn_out or self._closed:
            self._end(reader)
            return
        self._idle.append(reader)
        if self._timer:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._settings.web_reader_idle, self._end_idle)

    def _end_idle(self) -> None:
        if self._timer:
            self._timer.cancel()
        while self._idle:
            self._end(self._idle.pop())

    def _end(self, reader: Reader) -> None:
        task = asyncio.get_running_loop().create_task(reader.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


class Reader:
    """One such process: see `jupyter_ollama.web.text`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.pages = 0
        self._process = process

    @classmethod
    async def start(cls, memory: int) -> Reader:
        """Start a process with at most this many bytes of memory, 0 for no limit."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "jupyter_ollama.web.text", str(memory)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=child_environment(),
        )
        return cls(process)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """False once the process has ended."""
        return self._process.returncode is None

    async def read(self, html: bytes, url: str, charset: str) -> dict[str, Any]:
        """Return the process's result for a page. Raises OSError, EOFError or ValueError."""
        self.pages += 1
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin
        assert stdout
        head = orjson.dumps([url, charset])
        stdin.write(pack(head, html))
        await stdin.drain()
        page = orjson.loads(await receive(stdout, MAX_ANSWER))
        if not isinstance(page, dict):
            raise ValueError("the page cannot be read")
        return page

    async def end(self) -> None:
        """End the process and wait for it."""
        if self.is_alive:
            self._process.kill()
        await self._process.wait()
