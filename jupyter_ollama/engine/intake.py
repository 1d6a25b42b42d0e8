"""The intake thread: commands become sequences, rendered and tokenized, while batches compute."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import TYPE_CHECKING, Protocol

import msgspec
import zmq

from ..errors import OllamaError
from .embedder import EmbedJob
from .output import Output
from .prompting import Prompter
from .protocol import (
    Cancel,
    Command,
    Embed,
    Failed,
    Generate,
    Render,
    Rendered,
    Resize,
    Truncated,
)
from .sampling import Sampler
from .sequence import Sequence
from .text_stream import TextStream

if TYPE_CHECKING:
    from .constraint import ConstraintCompiler
    from .llama_model import LlamaModel


class BatchLoop(Protocol):
    """What the main thread offers: each is called there, in the order of the commands."""

    @property
    def longest(self) -> tuple[int, int]:
        """Tokens of a sequence: what it gets if it does not say, and the most it can have."""

    def generate(self, sequence: Sequence) -> None:
        """Queue a sequence."""

    def embed(self, job: EmbedJob) -> None:
        """Queue texts to embed."""

    def resize(self, command: Resize) -> None:
        """Make room for longer sequences."""

    def cancel(self, request: int) -> None:
        """Forget a request."""


class Intake(threading.Thread):
    """Reads commands, does what needs no device, and hands the rest to the batch loop."""

    def __init__(
        self,
        commands: zmq.Socket[bytes],
        model: LlamaModel,
        loop: BatchLoop,
        hand_over: Callable[[Callable[[], None]], None],
        output: Output,
    ) -> None:
        """``hand_over`` queues work for the main thread."""
        super().__init__(name="intake", daemon=True)
        self._commands = commands
        self._model = model
        self._prompter = Prompter(model)
        self._loop = loop
        self._hand_over = hand_over
        self._output = output
        # A hostile schema takes seconds to refuse; nobody else shall wait for that.
        self._compiling = ThreadPoolExecutor(1, thread_name_prefix="compile")
        self._in_compiler: set[int] = set()

    def run(self) -> None:
        """Work until the process ends."""
        decoder = msgspec.msgpack.Decoder(Command)
        while True:
            command = decoder.decode(self._commands.recv())
            if isinstance(command, Generate) and command.constraint:
                self._in_compiler.add(command.request)
                self._compiling.submit(self._take, command)
            else:
                self._take(command)

    def _take(self, command: Command) -> None:
        try:
            work = self._work(command)
        except OllamaError as error:
            self._output.event(Failed(command.request, error.status, error.message))
        except Exception as error:
            self._output.event(Failed(command.request, 500, f"{type(error).__name__}: {error}"))
        else:
            if work:
                self._hand_over(work)

    def _work(self, command: Command) -> Callable[[], None] | None:
        if isinstance(command, Cancel):
            self._in_compiler.discard(command.request)
            return partial(self._loop.cancel, command.request)
        if isinstance(command, Render):
            text = self._prompter.text(command.prompt, command.num_ctx)
            self._output.event(Rendered(command.request, text))
            return None
        if isinstance(command, Embed):
            return partial(self._loop.embed, EmbedJob(command))
        if isinstance(command, Resize):
            return partial(self._loop.resize, command)
        return self._generate(command)

    def _generate(self, command: Generate) -> Callable[[], None] | None:
        sequence = self._sequence(command)
        if command.constraint:
            sequence.constraint = self._constraints.compile(command.constraint)
            sequence.constraint.prepare()
            if command.request not in self._in_compiler:
                return None  # cancelled meanwhile
            self._in_compiler.discard(command.request)
        return partial(self._loop.generate, sequence)

    @cached_property
    def _constraints(self) -> ConstraintCompiler:
        # Loaded when first asked for: most runners are never asked.
        from .constraint import ConstraintCompiler

        return ConstraintCompiler(self._model)

    def _sequence(self, command: Generate) -> Sequence:
        usual, most = self._loop.longest
        num_ctx = min(command.options.num_ctx or usual, most)
        options = msgspec.structs.replace(command.options, num_ctx=num_ctx)
        tokens, dropped = self._prompter.tokens(command.prompt, num_ctx)
        keep = self._prompter.num_keep(options.num_keep, len(tokens))
        tokens, cut = self._prompter.fit(
            tokens, num_ctx, keep, truncate=command.truncate, shift=command.shift
        )
        if dropped + cut:
            self._output.event(Truncated(command.request, dropped + cut))
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
            truncated=dropped + cut,
            return_context=command.return_context,
            stream=command.stream,
        )
