"""The server's side of a runner process: start it, talk to it, notice its end."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from itertools import count

import msgspec
import zmq
import zmq.asyncio

from ..errors import OllamaError
from ..options import Options
from .protocol import (
    Cancel,
    ChatPrompt,
    Command,
    Constraint,
    Detokenize,
    Detokenized,
    Done,
    Embed,
    Embedded,
    Event,
    Failed,
    Generate,
    LoadFailed,
    LoadSpec,
    Progress,
    RawPrompt,
    Ready,
    Render,
    Rendered,
    Resize,
    Resized,
    Score,
    Scored,
    SuffixPrompt,
    Text,
    Tokenize,
    Tokenized,
    Truncated,
)

log = logging.getLogger(__name__)

CRASHED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal "
    "error, check ollama server logs for details"
)

Prompt = ChatPrompt | SuffixPrompt | RawPrompt


@dataclass(frozen=True)
class Embeddings:
    """``count`` rows of ``size`` float32, row after row in ``rows``."""

    rows: bytes
    count: int
    size: int
    prompt_eval_count: int


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


class Runner:
    """One runner process. Create it by `start`; `exited` is done when the process has ended."""

    def __init__(self, spec: LoadSpec) -> None:
        self.spec = spec
        self.ready: Ready
        self.exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        is_long = len(tempfile.gettempdir()) > LONGEST_SOCKET_FOLDER
        self._folder = tempfile.mkdtemp(prefix="jupyter-ollama-", dir="/tmp" if is_long else None)
        self._context = zmq.asyncio.Context()
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
        socket = self._context.socket(kind)
        socket.set_hwm(0)
        socket.linger = 0
        socket.bind(f"ipc://{self._folder}/{name}")
        return socket

    @classmethod
    async def start(cls, spec: LoadSpec, load_timeout: float) -> Runner:
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
        self._context.destroy(linger=0)
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
        if isinstance(event, Ready):
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

    async def generate(
        self,
        prompt: Prompt,
        options: Options,
        *,
        truncate: bool = True,
        shift: bool = True,
        return_context: bool = False,
        stream: bool = True,
        constraint: Constraint | None = None,
        logprobs: int | None = None,
        must_call: bool = False,
        progress: bool = False,
    ) -> AsyncGenerator[Truncated | Progress | Text | Done]:
        """Yield the parts of an answer as they come, or at once without ``stream``, then its Done.

        A prompt that was cut is told first. Closing the generator frees the sequence in the
        runner. See Generate for the arguments. Raises OllamaError.
        """
        command = Generate(
            next(self._numbers),
            prompt,
            options,
            truncate,
            shift,
            return_context,
            stream,
            constraint,
            logprobs,
            must_call,
            progress,
        )
        answers = self._ask(command)
        try:
            async for event, _ in answers:
                assert isinstance(event, Truncated | Progress | Text | Done)
                yield event
        finally:
            await answers.aclose()

    async def embed(
        self, texts: list[str], num_ctx: int, *, truncate: bool = True, normalize: bool = True
    ) -> Embeddings:
        """Return the embeddings of texts, each cut to ``num_ctx`` tokens if ``truncate``."""
        if not texts:
            return Embeddings(b"", 0, 0, 0)
        command = Embed(next(self._numbers), texts, num_ctx, truncate, normalize)
        event, frames = await self._answer(command)
        assert isinstance(event, Embedded)
        return Embeddings(frames[0], event.count, event.size, event.prompt_eval_count)

    async def rerank(
        self, query: str, documents: list[str], num_ctx: int, *, truncate: bool = True
    ) -> Embeddings:
        """Return a row for each document, whose first number says how well it fits the query."""
        command = Embed(next(self._numbers), documents, num_ctx, truncate, False, query)
        event, frames = await self._answer(command)
        assert isinstance(event, Embedded)
        return Embeddings(frames[0], event.count, event.size, event.prompt_eval_count)

    async def score(self, prompt: str, continuations: list[str], num_ctx: int) -> Scored:
        """Return how likely ``prompt``, read as it stands, goes on with each continuation.

        Raises OllamaError(400) if one does not fit into ``num_ctx`` tokens with the prompt.
        """
        command = Score(next(self._numbers), prompt, continuations, num_ctx)
        event, _ = await self._answer(command)
        assert isinstance(event, Scored)
        return event

    async def tokenize(
        self, text: str, *, special: bool = True, parse_special: bool = True
    ) -> Tokenized:
        """Return the tokens of a text; see Tokenize for the arguments."""
        command = Tokenize(next(self._numbers), text, special, parse_special)
        event, _ = await self._answer(command)
        assert isinstance(event, Tokenized)
        return event

    async def detokenize(self, tokens: list[int], *, special: bool = False) -> str:
        """Return the text of tokens. Raises OllamaError(400) for tokens that there are not."""
        event, _ = await self._answer(Detokenize(next(self._numbers), tokens, special))
        assert isinstance(event, Detokenized)
        return event.text

    async def resize(self, num_ctx: int) -> None:
        """Make room for sequences of ``num_ctx`` tokens; ``ready`` tells of it.

        Raises OllamaError if there is no memory for it; all is as before then.
        """
        event, _ = await self._answer(Resize(next(self._numbers), num_ctx))
        assert isinstance(event, Resized)

    async def render(self, prompt: Prompt, num_ctx: int) -> Rendered:
        """Return the text a prompt is rendered to, and what is in it."""
        event, _ = await self._answer(Render(next(self._numbers), prompt, num_ctx))
        assert isinstance(event, Rendered)
        return event

    async def _answer(self, command: Command) -> Answer:
        answers = self._ask(command)
        try:
            return await anext(answers)
        finally:
            await answers.aclose()
