"""The runner process: ``python -m jupyter_ollama.engine.runner FOLDER``.

It owns one model. Three threads: the main one runs the batch loop and sleeps when there is nothing
to do; the intake reads commands, renders and tokenizes; the output detokenizes and sends. The
folder holds the two sockets of the parent, who ends the runner by closing its stdin, or by a
signal.
"""

from __future__ import annotations

import os
import queue
import shutil
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

import msgspec
import zmq

from ..errors import OllamaError
from .devices import available_memory, devices_now
from .embedder import PACK_TOKENS, Embedder, EmbedJob
from .generator import Generator
from .intake import Intake
from .llama_model import LoadError
from .loading import EMBED_PARALLEL, LoadedModel
from .memory_plan import MemoryShortage
from .output import Output
from .preemption import Preemption
from .prompting import Prompter
from .protocol import (
    DeviceMemory,
    Done,
    Event,
    Failed,
    LoadFailed,
    LoadSpec,
    Memory,
    Ready,
    Resize,
    Resized,
)
from .sequence import Sequence

IDLE_TOKENS_ON_CPU = 0
"""Tokens of finished sequences in the KV cache of a CPU beside one running sequence. Each hundred
of them takes 2 to 3 % of its speed; copying them back takes less than a tenth of a step (measured
on SmolLM2)."""

IDLE_CELLS_ON_GPU = 8
"""The same for a GPU, as a multiple of all KV cells: half of them beside 16 sequences."""

STORED_BYTES = 8 * 2**30
"""Host memory for finished sequences that had to leave the KV cache, where there is enough."""

QUIET_SECONDS = 0.1
"""How long nobody asks before what nobody waits for is done."""

MEMORY_SECONDS = 1.0
"""How often a model that runs tells of its memory."""

SWITCH_SECONDS = 2e-4
"""How long one Python thread may keep the others waiting."""


class Runner:
    """A loaded model with its threads."""

    def __init__(self, spec: LoadSpec, send: Callable[[list[Event], list[bytes]], None]) -> None:
        self._loaded = LoadedModel(spec)
        self._model = self._loaded.model
        self._prompter = Prompter(self._model)
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._may_rest = False
        self._preemption = Preemption()
        self._output = Output(self._model, send)
        self._generator: Generator | None = None
        self._embedder: Embedder | None = None
        self.num_ctx = spec.num_ctx
        if self._model.is_embedding_only:
            self._embedder = self._make_embedder()
            slots = EMBED_PARALLEL
        else:
            self._generator = self._make_generator()
            slots = self._loaded.parallel
        self._output.start()
        self._output.event(Ready(self.num_ctx, slots, *self._sizes()))
        self._tell_memory()

    def _sizes(self) -> tuple[int, int]:
        """Return the bytes that llama.cpp holds: all of them, and those not on the host."""
        log = self._loaded.log
        return int(log.host_bytes + log.device_bytes), int(log.device_bytes)

    def _tell_memory(self) -> None:
        self._memory_told = time.monotonic()
        memory = Memory(devices=[DeviceMemory(d.name, d.free, d.total) for d in devices_now()])
        if self._generator:
            memory.used = self._generator.tokens_in_cells
            memory.cells = self._generator.context.cells
        self._output.event(memory)

    def _make_generator(self) -> Generator:
        context = self._loaded.generation_context()
        on_cpu = not self._loaded.log.device_bytes
        memory = available_memory()
        return Generator(
            self._model,
            context,
            self._output.deliver,
            self._output.fail,
            parallel=self._loaded.parallel,
            idle_tokens=IDLE_TOKENS_ON_CPU if on_cpu else IDLE_CELLS_ON_GPU * context.cells,
            stored_bytes=STORED_BYTES if memory is None else min(STORED_BYTES, memory // 8),
            drafter=self._loaded.drafter(),
            preemption=self._preemption if on_cpu else None,
        )

    def _make_embedder(self) -> Embedder:
        context = self._loaded.embedding_context(max(self.num_ctx, PACK_TOKENS))
        longest = min(context.batch, self._model.n_ctx_train)
        beside = self._loaded.contexts_beside(PACK_TOKENS)
        return Embedder(self._prompter, context, longest, self._output, beside)

    def run(self, commands: zmq.Socket[bytes]) -> None:
        """Work for ever; blocks without using the CPU while nothing is to be done."""
        vision = self._loaded.vision
        Intake(commands, self._model, self, self._hand_over, self._output, vision).start()
        while True:
            generating = self._generator is not None and self._generator.busy
            embedding = self._embedder is not None and self._embedder.busy
            self._take_work(wait=not generating and not embedding)
            if generating and self._generator:
                self._generator.step()
            if embedding and self._embedder:
                self._embedder.step()
            if time.monotonic() - self._memory_told > MEMORY_SECONDS:
                self._tell_memory()

    def _hand_over(self, work: Callable[[], None], is_urgent: bool) -> None:
        """Queue what the intake has; what is urgent may end the step under way."""
        if is_urgent:
            self._preemption.hand_over(partial(self._inbox.put, work))
        else:
            self._inbox.put(work)

    def _take_work(self, *, wait: bool) -> None:
        if wait:
            self._wait()
        while not self._inbox.empty():
            self._inbox.get()()

    def _wait(self) -> None:
        """Sleep until there is work, and take it; do what is left over once it is quiet."""
        while True:
            try:
                work = self._inbox.get(timeout=QUIET_SECONDS if self._may_rest else None)
            except queue.Empty:
                self._may_rest = bool(self._generator and self._generator.rest())
                if not self._may_rest:
                    self._tell_memory()
            else:
                self._may_rest = True
                work()
                return

    @property
    def longest(self) -> tuple[int, int]:
        """Tokens of a sequence: what it gets if it does not say, and the most it can have."""
        if self._generator is None:
            raise OllamaError(400, "this model does not support generate")
        return self.num_ctx, self._generator.context.cells

    def generate(self, sequence: Sequence) -> None:
        """Queue a sequence."""
        assert self._generator
        self._generator.add(sequence)

    def resize(self, command: Resize) -> None:
        """Make room for longer sequences; what runs goes on."""
        generator = self._generator
        try:
            if generator is None:
                raise LoadError("this model has no context to resize")
            if command.num_ctx > generator.context.cells:
                make = partial(self._loaded.generation_context, command.num_ctx)
                generator.replace_context(make)
        except LoadError as error:
            self._output.event(Failed(command.request, 500, str(error)))
        else:
            self.num_ctx = command.num_ctx
            self._output.event(Resized(command.request, self.num_ctx, *self._sizes()))

    def embed(self, job: EmbedJob) -> None:
        """Queue texts to embed."""
        try:
            if self._embedder is None:
                self._embedder = self._make_embedder()
                self._output.event(Resized(0, self.num_ctx, *self._sizes()))
        except LoadError as error:
            self._output.event(Failed(job.command.request, 500, str(error)))
        else:
            self._embedder.add(job)

    def cancel(self, request: int) -> None:
        """Forget a request and tell what it has cost."""
        is_told = self._generator is not None and self._generator.cancel(request)
        if self._embedder:
            self._embedder.cancel(request)
        self._output.cancel(request)
        if not is_told:
            self._output.event(Done(request, "cancel", 0, 0, 0, 0))


def watch_parent(folder: str) -> None:
    """End with the parent, and the folder too: its end of our stdin closes however it dies."""

    def watch() -> None:
        # Not sys.stdin: its lock, held by this thread, would abort the interpreter's shutdown.
        while os.read(0, 1024):
            pass
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def end_with_thread(failure: threading.ExceptHookArgs) -> None:
    """End the process when a thread of it dies: its work would wait for ever."""
    sys.__excepthook__(failure.exc_type, failure.exc_value or SystemExit(), failure.exc_traceback)
    sys.stderr.flush()
    os._exit(1)


def main() -> None:
    """Connect, load, serve."""
    # The batch loop must not wait for the output thread longer than it has to.
    sys.setswitchinterval(SWITCH_SECONDS)
    folder = sys.argv[1]
    watch_parent(folder)
    threading.excepthook = end_with_thread
    context = zmq.Context()
    commands: zmq.Socket[bytes] = context.socket(zmq.PULL)
    events: zmq.Socket[bytes] = context.socket(zmq.PUSH)
    for socket, name in ((commands, "commands"), (events, "events")):
        socket.set_hwm(0)
        socket.connect(f"ipc://{folder}/{name}")
    encoder = msgspec.msgpack.Encoder()

    def send(batch: list[Event], frames: list[bytes]) -> None:
        events.send_multipart([encoder.encode(batch), *frames], copy=False)

    spec = msgspec.msgpack.decode(commands.recv(), type=LoadSpec)
    try:
        runner = Runner(spec, send)
    except (LoadError, OSError, ValueError) as error:
        failed = LoadFailed(str(error))
        if isinstance(error, MemoryShortage):
            failed.required, failed.available = error.required, error.available
        send([failed], [])
        context.destroy(linger=2000)
        sys.exit(1)
    runner.run(commands)


if __name__ == "__main__":
    main()
