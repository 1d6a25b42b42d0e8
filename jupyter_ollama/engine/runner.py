"""The runner process: ``python -m jupyter_ollama.engine.runner FOLDER``.

It owns one model. Three threads: the main one runs the batch loop and sleeps when there is nothing
to do; "intake" reads commands, renders and tokenizes; "output" detokenizes and sends. The folder
holds the two sockets of the parent, who ends the runner by closing its stdin, or by a signal.
"""

from __future__ import annotations

import os
import queue
import shutil
import sys
import threading
from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import msgspec
import zmq

from ..errors import OllamaError
from .embedder import PACK_TOKENS, Embedder, EmbedJob
from .generator import Generator
from .llama_model import LoadError
from .loading import EMBED_PARALLEL, LoadedModel
from .memory_plan import MemoryShortage
from .output import Output
from .prompting import Prompter
from .protocol import (
    Cancel,
    Command,
    Embed,
    Event,
    Failed,
    Generate,
    LoadFailed,
    LoadSpec,
    Ready,
    Render,
    Rendered,
    Resize,
    Resized,
    Truncated,
)
from .sampling import Sampler
from .sequence import Sequence
from .text_stream import TextStream

if TYPE_CHECKING:
    from .constraint import ConstraintCompiler

IDLE_TOKENS_ON_CPU = 512
"""Tokens of finished sequences in the KV cache of a CPU while others run. There the cells of idle
sequences cost a running one about 1 % of its speed for each hundred (measured on SmolLM2)."""

STORED_BYTES = 2**30
"""Host memory for finished sequences that had to leave the KV cache."""

SWITCH_SECONDS = 2e-4

Work = tuple[Callable[[Any], None], Any]


class Runner:
    """A loaded model with its threads."""

    def __init__(self, spec: LoadSpec, send: Callable[[list[Event], list[bytes]], None]) -> None:
        self._loaded = LoadedModel(spec)
        self._model = self._loaded.model
        self._prompter = Prompter(self._model)
        self._inbox: queue.SimpleQueue[Work] = queue.SimpleQueue()
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

    @cached_property
    def _constraints(self) -> ConstraintCompiler:
        # Loaded when first asked for: most runners are never asked.
        from .constraint import ConstraintCompiler

        return ConstraintCompiler(self._model)

    def _sizes(self) -> tuple[int, int]:
        """Return the bytes that llama.cpp holds: all of them, and those not on the host."""
        log = self._loaded.log
        return int(log.host_bytes + log.device_bytes), int(log.device_bytes)

    def _make_generator(self) -> Generator:
        context = self._loaded.generation_context()
        on_cpu = not self._loaded.log.device_bytes
        return Generator(
            self._model,
            context,
            self._output.deliver,
            self._output.fail,
            parallel=self._loaded.parallel,
            idle_tokens=IDLE_TOKENS_ON_CPU if on_cpu else context.cells // 2,
            stored_bytes=STORED_BYTES,
        )

    def _make_embedder(self) -> Embedder:
        context = self._loaded.embedding_context(max(self.num_ctx, PACK_TOKENS))
        longest = min(context.batch, self._model.n_ctx_train)
        return Embedder(self._prompter, context, longest, self._output)

    def run(self) -> None:
        """Work for ever; blocks without using the CPU while nothing is to be done."""
        while True:
            generating = self._generator is not None and self._generator.busy
            embedding = self._embedder is not None and self._embedder.busy
            self._take_work(wait=not generating and not embedding)
            if generating and self._generator:
                self._generator.step()
            if embedding and self._embedder:
                self._embedder.step()

    def _take_work(self, *, wait: bool) -> None:
        if wait:
            work, argument = self._inbox.get()
            work(argument)
        while not self._inbox.empty():
            work, argument = self._inbox.get()
            work(argument)

    def listen(self, commands: zmq.Socket[bytes]) -> None:
        """Turn commands into work. Runs in the intake thread."""
        decoder = msgspec.msgpack.Decoder(Command)
        while True:
            command = decoder.decode(commands.recv())
            try:
                self._take(command)
            except OllamaError as error:
                self._output.event(Failed(command.request, error.status, error.message))
            except Exception as error:
                self._output.event(Failed(command.request, 500, f"{type(error).__name__}: {error}"))

    def _take(self, command: Command) -> None:
        if isinstance(command, Cancel):
            self._inbox.put((self._cancel, command.request))
        elif isinstance(command, Render):
            text = self._prompter.text(command.prompt, command.num_ctx)
            self._output.event(Rendered(command.request, text))
        elif isinstance(command, Embed):
            self._inbox.put((self._embed, EmbedJob(command)))
        elif isinstance(command, Resize):
            self._inbox.put((self._resize, command))
        else:
            self._inbox.put((self._generate, self._sequence(command)))

    def _sequence(self, command: Generate) -> Sequence:
        if self._generator is None:
            raise OllamaError(400, "this model does not support generate")
        cells = self._generator.context.cells
        num_ctx = min(command.options.num_ctx or self.num_ctx, cells)
        options = msgspec.structs.replace(command.options, num_ctx=num_ctx)
        tokens, dropped = self._prompter.tokens(command.prompt, num_ctx)
        keep = self._prompter.num_keep(options.num_keep, len(tokens))
        tokens, cut = self._prompter.fit(
            tokens, num_ctx, keep, truncate=command.truncate, shift=command.shift
        )
        truncated = dropped + cut
        if truncated:
            self._output.event(Truncated(command.request, truncated))
        constraint = None
        if command.constraint:
            constraint = self._constraints.compile(command.constraint)
            constraint.prepare()
        cap = 10 * num_ctx
        return Sequence(
            command.request,
            tokens,
            Sampler(self._model, options, tokens),
            TextStream(options.stop),
            num_ctx=num_ctx,
            num_predict=min(options.num_predict, cap) if options.num_predict > 0 else cap,
            num_keep=keep,
            shift=command.shift,
            truncated=truncated,
            return_context=command.return_context,
            stream=command.stream,
            constraint=constraint,
        )

    def _generate(self, sequence: Sequence) -> None:
        assert self._generator
        self._generator.add(sequence)

    def _resize(self, command: Resize) -> None:
        generator = self._generator
        try:
            if generator is None:
                raise LoadError("this model has no context to resize")
            generator.replace_context(partial(self._loaded.generation_context, command.num_ctx))
        except LoadError as error:
            self._output.event(Failed(command.request, 500, str(error)))
        else:
            self.num_ctx = command.num_ctx
            self._output.event(Resized(command.request, self.num_ctx, *self._sizes()))

    def _embed(self, job: EmbedJob) -> None:
        try:
            self._embedder = self._embedder or self._make_embedder()
        except LoadError as error:
            self._output.event(Failed(job.command.request, 500, str(error)))
        else:
            self._embedder.add(job)

    def _cancel(self, request: int) -> None:
        if self._generator:
            self._generator.cancel(request)
        if self._embedder:
            self._embedder.cancel(request)
        self._output.cancel(request)


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
    threading.Thread(target=runner.listen, args=(commands,), name="intake", daemon=True).start()
    runner.run()


if __name__ == "__main__":
    main()
