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
from .answers import AnswerReader
from .embedder import EmbedJob
from .output import Output
from .progress import PromptProgress
from .prompting import Prompter, RenderedPrompt
from .protocol import (
    Cancel,
    Command,
    Detokenize,
    Detokenized,
    Embed,
    Failed,
    Generate,
    Render,
    Rendered,
    Resize,
    Score,
    SuffixPrompt,
    Tokenize,
    Tokenized,
    Truncated,
)
from .sampling import Sampler
from .score import score_sequences
from .sequence import Sequence
from .text_stream import TextStream

if TYPE_CHECKING:
    from .constraint import ConstraintCompiler
    from .llama_model import LlamaModel
    from .vision import Vision


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
        hand_over: Callable[[Callable[[], None], bool], None],
        output: Output,
        vision: Vision | None = None,
    ) -> None:
        """``hand_over`` queues work for the main thread and is told whether somebody waits for it.

        ``vision`` is for images in prompts.
        """
        super().__init__(name="intake", daemon=True)
        self._commands = commands
        self._model = model
        self._prompter = Prompter(model, vision)
        self._loop = loop
        self._hand_over = hand_over
        self._output = output
        # Nobody else shall wait for what takes seconds.
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._preparing: set[int] = set()

    def run(self) -> None:
        """Work until the process ends."""
        decoder = msgspec.msgpack.Decoder(Command)
        while True:
            command = decoder.decode(self._commands.recv())
            if _takes_long(command):
                self._preparing.add(command.request)
                self._aside.submit(self._take, command)
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
                self._hand_over(work, isinstance(command, Generate) and command.stream)

    def _work(self, command: Command) -> Callable[[], None] | None:
        if isinstance(command, Cancel):
            self._preparing.discard(command.request)
            return partial(self._loop.cancel, command.request)
        if isinstance(command, Render):
            rendered = self._prompter.render(command.prompt, command.num_ctx)
            count = len(self._prompter.tokens(command.prompt, rendered).tokens)
            images = len(rendered.pictures)
            self._output.event(Rendered(command.request, rendered.text, count, images))
            return None
        if isinstance(command, Embed):
            return partial(self._loop.embed, EmbedJob(command))
        if isinstance(command, Resize):
            return partial(self._loop.resize, command)
        if isinstance(command, Tokenize | Detokenize):
            self._output.event(self._translated(command))
            return None
        return self._score(command) if isinstance(command, Score) else self._generate(command)

    def _translated(self, command: Tokenize | Detokenize) -> Tokenized | Detokenized:
        model = self._model
        if isinstance(command, Tokenize):
            tokens = model.tokenize(
                command.text, special=command.special, parse_special=command.parse_special
            )
            pieces = [model.piece(token, special=True) for token in tokens]
            return Tokenized(command.request, tokens, pieces)
        try:
            text = model.detokenize(command.tokens, special=command.special)
        except ValueError:
            raise OllamaError(400, "tokens that this model does not have") from None
        return Detokenized(command.request, text)

    def _score(self, command: Score) -> Callable[[], None] | None:
        usual, most = self._loop.longest
        num_ctx = min(command.num_ctx or usual, most)
        sequences = score_sequences(self._model, command, num_ctx)
        if self._is_cancelled(command):
            return None

        def generate() -> None:
            for sequence in sequences:
                self._loop.generate(sequence)

        return generate

    def _is_cancelled(self, command: Command) -> bool:
        """Tell whether nobody waits for what was prepared aside any more."""
        if command.request not in self._preparing:
            return True
        self._preparing.discard(command.request)
        return False

    def _generate(self, command: Generate) -> Callable[[], None] | None:
        usual, most = self._loop.longest
        num_ctx = min(command.options.num_ctx or usual, most)
        rendered = self._prompter.render(command.prompt, num_ctx)
        answer = AnswerReader(self._model, command, rendered.text)
        rendered = rendered._replace(text=answer.text)
        sequence = self._sequence(command, answer, rendered, num_ctx)
        if command.constraint:
            constraint = answer.constrained(self._constraints.compile(command.constraint))
            constraint.prepare()
            sequence.constraint = constraint
        if _takes_long(command) and self._is_cancelled(command):
            return None
        return partial(self._loop.generate, sequence)

    @cached_property
    def _constraints(self) -> ConstraintCompiler:
        # Loaded when first asked for: most runners are never asked.
        from .constraint import ConstraintCompiler

        return ConstraintCompiler(self._model)

    def _sequence(
        self, command: Generate, answer: AnswerReader, rendered: RenderedPrompt, num_ctx: int
    ) -> Sequence:
        options = msgspec.structs.replace(command.options, num_ctx=num_ctx)
        prompt = self._prompter.tokens(command.prompt, rendered)
        keep = self._prompter.num_keep(options.num_keep, len(prompt.tokens))
        tokens, cut = self._prompter.fit(
            prompt, num_ctx, keep, truncate=command.truncate, shift=command.shift
        )
        lost = rendered.lost + cut
        if lost:
            self._output.event(Truncated(command.request, lost))
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
            truncated=lost,
            draft_num_predict=options.draft_num_predict,
            return_context=command.return_context,
            stream=command.stream,
            parser=answer.parser(),
            media=prompt.media,
            top_logprobs=command.logprobs,
            progress=PromptProgress(command.request, self._output.event)
            if command.progress
            else None,
        )


def _takes_long(command: Command) -> bool:
    """Tell whether a request may take seconds.

    There may be hostile schemas to refuse, images to encode, a prompt to cut many times.
    """
    if not isinstance(command, Generate):
        return isinstance(command, Score)
    prompt = command.prompt
    return bool(command.constraint or (not isinstance(prompt, SuffixPrompt) and prompt.images))
