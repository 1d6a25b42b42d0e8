"""A runner process: start it, send it commands, notice its end."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import AsyncGenerator
from functools import cache
from itertools import count
from typing import Self

import msgspec
import zmq
import zmq.asyncio

from ..errors import OllamaError
from .protocol import (
    Cancel,
    Command,
    Event,
    Failed,
    LoadFailed,
    LoadSpec,
    Memory,
    Progress,
    Ready,
    Resized,
    Text,
    Truncated,
)

log = logging.getLogger(__name__)

CRASHED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal "
    "error, check ollama server logs for details"
)


class LoadRefused(OllamaError):
    """The runner could not load its model; ``shortage`` is how many bytes of memory it lacked."""

    def __init__(self, event: LoadFailed) -> None:
        super().__init__(500, event.message)
        self.shortage = max(0, event.required - event.available)


Answer = tuple[Event, list[bytes]]

ENVIRONMENT = {
    # How long llama.cpp's OpenMP threads spin before they sleep. On a host where anything else
    # computes (a kernel, say) libgomp's own default makes single steps take seconds.
    "GOMP_SPINCOUNT": "1000",
    # The reason of an abort shall be the last thing said, not what a debugger says after it.
    "GGML_NO_BACKTRACE": "1",
}
"""Variables of a runner that the server's own environment overrides."""

LONGEST_LOG_LINE = 2**20
LONGEST_SOCKET_FOLDER = 70
"""Characters of a temporary folder: a socket's path may have 107."""


@cache
def _zmq_context() -> zmq.asyncio.Context:
    """Return the context of all runners.

    It lives as long as this process: one that is collected as garbage together with its sockets
    waits for them for ever.
    """
    return zmq.asyncio.Context()


class RunnerProcess:
    """One runner process. Create it by `start`; `exited` is done when the process has ended."""

    def __init__(self, spec: LoadSpec) -> None:
        self.spec = spec
        self.ready: Ready
        self.memory = Memory()
        self.exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        is_long = len(tempfile.gettempdir()) > LONGEST_SOCKET_FOLDER
        self._folder = tempfile.mkdtemp(prefix="jupyter-ollama-", dir="/tmp" if is_long else None)
        self._commands = self._bind(zmq.PUSH, "commands")
        self._events = self._bind(zmq.PULL, "events")
        self._encoder = msgspec.msgpack.Encoder()
        self._numbers = count(1)
        self._requests: dict[int, asyncio.Queue[Answer]] = {}
        self._loaded: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self._last_words: deque[str] = deque(maxlen=20)
        self._tasks: list[asyncio.Task[None]] = []
        self._process: asyncio.subprocess.Process

    def _bind(self, kind: int, name: str) -> zmq.asyncio.Socket:
        socket = _zmq_context().socket(kind)
        socket.set_hwm(0)
        socket.linger = 0
        socket.bind(f"ipc://{self._folder}/{name}")
        return socket

    @classmethod
    async def start(cls, spec: LoadSpec, load_timeout: float) -> Self:
        """Start a process and wait until it has loaded its model, ``load_timeout`` seconds at most.

        Raises OllamaError(500) if it cannot; nothing is left behind then.
        """
        runner = cls(spec)
        try:
            await runner._spawn()
            runner._tell(spec)
            runner.ready = await asyncio.wait_for(runner._loaded, load_timeout or None)
        except TimeoutError:
            message = f"timed out waiting for the model to load ({load_timeout:.0f} s)"
            await runner.stop()
            raise OllamaError(500, message) from None
        except BaseException:
            await runner.stop()
            raise
        return runner

    async def _spawn(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # the working folder holds a user's files, which are not modules
            "-m",
            "jupyter_ollama.engine.runner",
            self._folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**ENVIRONMENT, **os.environ},
            limit=LONGEST_LOG_LINE,
            # Its own session, so that Ctrl-C in a terminal reaches the server only.
            start_new_session=True,
        )
        self._tasks = [
            asyncio.create_task(coroutine)
            for coroutine in (self._read_events(), self._read_log(), self._wait())
        ]
        for task in self._tasks:
            task.add_done_callback(self._check)

    def _check(self, task: asyncio.Task[None]) -> None:
        """A task that fails leaves a runner nobody hears: end it, so that its requests end too."""
        if not task.cancelled() and task.exception():
            log.error("Lost touch with runner %d", self.pid, exc_info=task.exception())
            if self._process.returncode is None:
                self._process.kill()

    @property
    def pid(self) -> int:
        """The process id of the runner."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """False once the process has ended."""
        return not self.exited.done()

    async def stop(self) -> None:
        """End the process and wait for it; requests under way get the text of a crash."""
        if not hasattr(self, "_process"):
            self._close()
            return
        if self._process.returncode is None:
            self._process.kill()
        await self.wait()

    async def wait(self) -> None:
        """Wait until the process has ended; a cancel of this leaves `exited` to the others."""
        await asyncio.wait([self.exited])

    def _close(self) -> None:
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self._commands.close()
        self._events.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _wait(self) -> None:
        status = await self._process.wait()
        # What the process sent last may still be on its way through zmq's own thread.
        await asyncio.sleep(0.05)
        if not self._loaded.done():
            self._loaded.set_exception(OllamaError(500, self._obituary(status)))
        for number, answers in self._requests.items():
            answers.put_nowait((Failed(number, 500, CRASHED), []))
        if status not in (0, -9):
            log.error(
                "Runner %d of %s ended: %s", self.pid, self.spec.model, self._obituary(status)
            )
        self.exited.set_result(None)
        self._close()

    def _obituary(self, status: int) -> str:
        words = " ".join(self._last_words)
        return f"{CRASHED} (exit status {status}{': ' + words if words else ''})"

    async def _read_log(self) -> None:
        assert self._process.stderr
        async for line in self._process.stderr:
            text = line.decode("utf-8", "replace").rstrip()
            self._last_words.append(text)
            log.debug("runner %d: %s", self.pid, text)

    async def _read_events(self) -> None:
        decoder = msgspec.msgpack.Decoder(list[Event])
        while True:
            first, *frames = await self._events.recv_multipart()
            for event in decoder.decode(first):
                self._dispatch(event, frames)

    def _dispatch(self, event: Event, frames: list[bytes]) -> None:
        if isinstance(event, Resized):
            self._resized(event)
        if isinstance(event, Memory):
            self.memory = event
        elif isinstance(event, Ready):
            self._loaded.set_result(event)
        elif isinstance(event, LoadFailed):
            self._loaded.set_exception(LoadRefused(event))
        elif answers := self._requests.get(event.request):
            answers.put_nowait((event, frames))

    def _resized(self, event: Resized) -> None:
        self.ready = msgspec.structs.replace(
            self.ready, num_ctx=event.num_ctx, size=event.size, size_vram=event.size_vram
        )

    def _tell(self, command: Command | LoadSpec) -> None:
        self._commands.send(self._encoder.encode(command))

    async def _ask(self, command: Command) -> AsyncGenerator[Answer]:
        """Send a command and yield its answers; leaving early cancels it in the runner."""
        if not self.is_alive:
            raise OllamaError(500, CRASHED)
        answers: asyncio.Queue[Answer] = asyncio.Queue()
        self._requests[command.request] = answers
        over = False
        try:
            self._tell(command)
            while not over:
                event, frames = await answers.get()
                over = not isinstance(event, Text | Truncated | Progress)
                if isinstance(event, Failed):
                    raise OllamaError(event.status, event.message)
                yield event, frames
        finally:
            del self._requests[command.request]
            if not over and self.is_alive:
                self._tell(Cancel(command.request))

    async def _answer(self, command: Command) -> Answer:
        answers = self._ask(command)
        try:
            return await anext(answers)
        finally:
            await answers.aclose()
