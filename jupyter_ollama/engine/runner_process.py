"""A runner process: starts it, sends commands, dispatches its events, detects its end."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from collections.abc import AsyncGenerator
from itertools import count
from typing import Self

import msgspec

from ..child_environment import child_environment
from ..errors import OllamaError
from .events import (
    Beat,
    Event,
    Failed,
    LoadFailed,
    Memory,
    Placed,
    Progress,
    Ready,
    Resized,
    Text,
    Truncated,
)
from .meter import current_account
from .protocol import Cancel, Command, FreeAdapters, LoadAdapters, LoadSpec, Resize
from .pulse import QUESTION
from .runner_connection import RunnerConnection
from .runner_failures import (
    CRASHED,
    HUNG,
    LoadRefused,
    RunnerCrashed,
    cause_of_end,
    crash_message,
    end_message,
    is_fault_of_device,
)
from .vital_signs import Patience, size_of

log = logging.getLogger(__name__)

ENVIRONMENT = {
    # How long llama.cpp's OpenMP threads spin before they sleep. On a host with other load (a
    # kernel, say) libgomp's default makes single steps take seconds.
    "GOMP_SPINCOUNT": "1000",
    # They spin as long where two threads call llama.cpp, each with a team of its own. Otherwise
    # libgomp spins for a tenth of the time, and a step takes two or three times as long.
    "OMP_WAIT_POLICY": "active",
    # For LLVM's OpenMP, whose threads would not sleep at all with this policy: milliseconds.
    "KMP_BLOCKTIME": "1",
    # The last line of the log must be the reason of an abort, not a backtrace.
    "GGML_NO_BACKTRACE": "1",
}
"""Variables of a runner, unless the server's environment sets them."""

LONGEST_LOG_LINE = 2**20
LAST_EVENTS_SECONDS = 1.0
"""How long the events of a process that has ended are awaited. They end at once, unless a child of
the process has its socket."""


class RunnerProcess:
    """One runner process. Create it by `start`; `exited` is done when the process has ended."""

    def __init__(self, spec: LoadSpec) -> None:
        self.spec = spec
        self.ready: Ready
        self.memory = Memory()
        self.gpu_layers = 0
        self.exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(list[Event])
        self._numbers = count(1)
        self._requests: dict[int, asyncio.Queue[Event]] = {}
        self._loaded: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        # A load that is cancelled reads no result: asyncio would log its error as unretrieved.
        self._loaded.add_done_callback(lambda loaded: loaded.cancelled() or loaded.exception())
        self._last_words: deque[str] = deque(maxlen=20)
        self._tasks: list[asyncio.Task[None]] = []
        self._process: asyncio.subprocess.Process
        self._connection: RunnerConnection
        self._watching: asyncio.Task[None] | None = None
        self._silent = 0.0
        self._is_hung = False
        self._has_answered = False

    @classmethod
    async def start(cls, spec: LoadSpec, load_timeout: float, spare: Self | None = None) -> Self:
        """Start a process and wait until it has loaded its model, ``load_timeout`` seconds at most.

        A ``spare`` process, which has begun and has no model, is used instead of a new one, unless
        it has just ended.

        If the driver of a GPU fails although the plan has enough memory for it, another process
        loads the model with half of the layers there. Raises OllamaError(500) if it cannot load
        the model, after the process has ended.
        """
        runner = spare or cls(spec)
        runner.spec = spec
        try:
            try:
                await runner._load(load_timeout)
            except RunnerCrashed:
                if spare is None or spare._has_answered:
                    raise
                runner = cls(spec)
                await runner._load(load_timeout)
        except OllamaError as error:
            if not runner.gpu_layers or not is_fault_of_device(error):
                raise
            fewer = runner.gpu_layers // 2
            log.warning(
                "Loading %s with %d layers on GPUs failed (%s); it is loaded with %d there",
                spec.model,
                runner.gpu_layers,
                error.message,
                fewer,
            )
            runner = cls(msgspec.structs.replace(spec, most_gpu_layers=fewer))
            await runner._load(load_timeout)
        return runner

    async def _load(self, load_timeout: float) -> None:
        """Start the process if it has not begun and wait for its model; end it if that fails."""
        spec = self.spec
        try:
            if not self._has_begun:
                await self.begin()
            self._send(spec)
            size = size_of((spec.model, *spec.projectors, spec.draft))
            patience = Patience(self.pid, size, spec.limits)
            await patience.wait(self._loaded, load_timeout or None)
            self.ready = self._loaded.result()
        except BaseException:
            await self.stop()
            raise

    async def begin(self) -> None:
        """Start the process, which waits for its model. Raises OSError."""
        self._connection, inherited = await RunnerConnection.open(self._take)
        with inherited:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",  # the working folder holds a user's files, which are not modules
                    "-m",
                    "jupyter_ollama.engine.runner",
                    str(inherited.fileno()),
                    pass_fds=[inherited.fileno()],
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.PIPE,
                    env=ENVIRONMENT | child_environment(self.spec.limits.environment),
                    limit=LONGEST_LOG_LINE,
                    # Its own session, so that Ctrl-C in a terminal reaches the server only.
                    start_new_session=True,
                )
            except BaseException:
                self._connection.close()
                raise
        self._tasks = [
            asyncio.create_task(coroutine) for coroutine in (self._read_log(), self._wait())
        ]
        for task in self._tasks:
            task.add_done_callback(self._check)

    def _check(self, task: asyncio.Task[None]) -> None:
        """End the runner if a task fails: its requests would wait for ever."""
        if not task.cancelled() and (error := task.exception()):
            self._give_up(error)

    def _give_up(self, error: BaseException) -> None:
        log.error("Lost the connection to runner %d", self.pid, exc_info=error)
        if self._process.returncode is None:
            self._process.kill()

    @property
    def _has_begun(self) -> bool:
        return hasattr(self, "_process")

    @property
    def pid(self) -> int:
        """The process id of the runner."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """False once the process has ended."""
        return not self.exited.done()

    async def stop(self) -> None:
        """End the process and wait for it; its requests fail like in a crash."""
        if not self._has_begun:
            return
        if self._process.returncode is None:
            self._process.kill()
        await asyncio.wait([self.exited], timeout=self.spec.limits.kill)
        if not self.exited.done():
            log.error("Runner %d of %s does not end and is abandoned", self.pid, self.spec.model)
            self._end()

    async def wait(self) -> None:
        """Wait until the process has ended; cancelling this does not cancel `exited`."""
        await asyncio.wait([self.exited])

    def _close(self) -> None:
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self._connection.close()

    async def _wait(self) -> None:
        status = await self._process.wait()
        await asyncio.wait([self._connection.closed], timeout=LAST_EVENTS_SECONDS)
        if not self._loaded.done():
            self._loaded.set_exception(RunnerCrashed(crash_message(status, self._last_words)))
        if status not in (0, -9):
            words = " ".join(self._last_words)
            log.error(
                "Runner %d of %s ended: %s: %s",
                self.pid,
                self.spec.model,
                cause_of_end(status),
                words,
            )
        self._end()

    def _end(self) -> None:
        """Fail all requests and the load, and complete `exited`."""
        if self.exited.done():
            return
        if not self._loaded.done():
            self._loaded.cancel()
        message = HUNG if self._is_hung else end_message(self._process.returncode)
        for number, answers in self._requests.items():
            answers.put_nowait(Failed(number, 500, message))
        self.exited.set_result(None)
        self._close()

    async def _watch(self) -> None:
        """Ping the runner while there are requests, and end it if it does not answer.

        Time is counted in checks, so that a server that was suspended itself ends no runner.
        """
        limit = self.spec.limits.silence
        interval = limit / 5
        self._silent = 0.0
        while self._requests and self.is_alive:
            await asyncio.sleep(interval)
            self._silent += interval
            if self._silent > limit and self._requests:
                log.error(
                    "Runner %d of %s does not respond and is ended", self.pid, self.spec.model
                )
                self._is_hung = True
                await self.stop()
                return
            if self._silent > interval and self._process.stdin:
                self._process.stdin.write(QUESTION)

    def _start_watching(self) -> None:
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())
            self._tasks.append(self._watching)
            self._watching.add_done_callback(self._tasks.remove)

    async def _read_log(self) -> None:
        assert self._process.stderr
        async for line in self._process.stderr:
            text = line.decode("utf-8", "replace").rstrip()
            self._last_words.append(text)
            log.debug("runner %d: %s", self.pid, text)

    def _take(self, message: bytes) -> None:
        """Dispatch the events of a message."""
        self._has_answered = True
        try:
            for event in self._decoder.decode(message):
                self._dispatch(event)
        except Exception as error:
            self._give_up(error)

    def _dispatch(self, event: Event) -> None:
        if isinstance(event, Resized):
            self._resized(event)
        if isinstance(event, Beat):
            self._silent = -event.seconds
        elif isinstance(event, Memory):
            self._silent = 0.0
            self.memory = event
        elif isinstance(event, Placed):
            self.gpu_layers = event.gpu_layers
            for fault in event.faults:
                log.warning("The backend %s", fault)
        elif isinstance(event, Ready):
            self._loaded.set_result(event)
        elif isinstance(event, LoadFailed):
            self._loaded.set_exception(LoadRefused(event))
        elif answers := self._requests.get(event.request):
            answers.put_nowait(event)

    def _resized(self, event: Resized) -> None:
        self.ready = msgspec.structs.replace(
            self.ready, num_ctx=event.num_ctx, size=event.size, size_vram=event.size_vram
        )

    def _send(self, command: Command | LoadSpec) -> None:
        self._connection.send(self._encoder.encode(command))

    async def _ask(self, command: Command) -> AsyncGenerator[Event]:
        """Send a command and yield its answers; closing the generator early cancels it."""
        if not self.is_alive:
            raise OllamaError(500, CRASHED)
        if not isinstance(command, Cancel | Resize | LoadAdapters | FreeAdapters):
            command.account = current_account.get()
        answers: asyncio.Queue[Event] = asyncio.Queue()
        self._requests[command.request] = answers
        self._start_watching()
        over = False
        try:
            self._send(command)
            while not over:
                event = await answers.get()
                over = not isinstance(event, Text | Truncated | Progress)
                if isinstance(event, Failed):
                    raise OllamaError(event.status, event.message)
                yield event
        finally:
            del self._requests[command.request]
            if not over and self.is_alive:
                self._send(Cancel(command.request))

    async def _answer(self, command: Command) -> Event:
        answers = self._ask(command)
        try:
            return await anext(answers)
        finally:
            await answers.aclose()
