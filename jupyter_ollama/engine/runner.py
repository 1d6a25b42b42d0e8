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
from typing import Any

import msgspec
import zmq

from ..errors import OllamaError
from .embedder import PACK_TOKENS, Embedder, EmbedJob
from .generator import Generator
from .llama_model import LoadError
from .loading import EMBED_PARALLEL, LoadedModel
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
)
from .sampling import Sampler
from .sequence import Sequence
from .text_stream import TextStream

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
            context = self._loaded.generation_context()
            self._generator = Generator(
                self._model, context, self._output.deliver, self._output.fail
            )
            slots = context.max_sequences
        log = self._loaded.log
        self._output.start()
        self._output.event(
            Ready(
                num_ctx=self.num_ctx,
                slots=slots,
                size=int(log.host_bytes + log.device_bytes),
                size_vram=int(log.device_bytes),
            )
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
        else:
            self._inbox.put((self._generate, self._sequence(command)))

    def _sequence(self, command: Generate) -> Sequence:
        if self._generator is None:
            raise OllamaError(400, "this model does not support generate")
        num_ctx = min(command.options.num_ctx or self.num_ctx, self.num_ctx)
        options = msgspec.structs.replace(command.options, num_ctx=num_ctx)
        tokens = self._prompter.tokens(command.prompt, num_ctx)
        keep = self._prompter.num_keep(options.num_keep, len(tokens))
        tokens, truncated = self._prompter.fit(
            tokens, num_ctx, keep, truncate=command.truncate, shift=command.shift
        )
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
        )

    def _generate(self, sequence: Sequence) -> None:
        assert self._generator
        self._generator.add(sequence)

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
        send([LoadFailed(str(error))], [])
        context.destroy(linger=2000)
        sys.exit(1)
    threading.Thread(target=runner.listen, args=(commands,), name="intake", daemon=True).start()
    runner.run()


if __name__ == "__main__":
    main()
