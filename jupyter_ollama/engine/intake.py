"""The intake thread: commands become sequences, rendered and tokenized, while batches compute.

Short commands are prepared in this thread, others in further threads, so that no command waits for
a slow one of another account. Work that would hold the interpreter's lock runs in processes: see
`preparer`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

import msgspec

from ..errors import OllamaError
from .account_queue import AccountQueue, Cancelled, Job
from .answers import AnswerReader
from .embed_job import EmbedJob
from .events import Failed
from .output import Output
from .preparation import (
    Longest,
    ReadPrompt,
    context_of,
    long_texts,
    read_prompt,
    split_score,
    vocabulary_answer,
)
from .preparation_place import PreparationPlace, place_of
from .preparer import Answered, LongTexts, Preparer, Read
from .prompt_templates import TakesLong
from .prompting import Prompter
from .protocol import (
    Cancel,
    Command,
    Detokenize,
    Embed,
    FreeAdapters,
    Generate,
    LoadAdapters,
    Render,
    Resize,
    Score,
    Tokenize,
)
from .runner_limits import RunnerLimits
from .score import score_sequences
from .sequence import Sequence
from .sequence_builder import SequenceBuilder
from .server_connection import ServerConnection

if TYPE_CHECKING:
    from .llama_model import LlamaModel
    from .vision import Vision

Work = Callable[[], None]

# Made before any thread runs: msgspec inspects a type at its first use, without a lock.
_commands = msgspec.msgpack.Decoder(Command)
_scores = msgspec.msgpack.Decoder(Score)


class BatchLoop(Protocol):
    """The methods of the main thread's loop; they run there, in the order of the commands."""

    @property
    def longest(self) -> Longest | None:
        """Tokens of a sequence, by default and at most; None if the model only embeds."""

    @property
    def longest_text(self) -> int:
        """The most tokens of a text to embed."""

    def generate(self, sequence: Sequence) -> None:
        """Queue a sequence."""

    def embed(self, job: EmbedJob) -> None:
        """Queue texts to embed."""

    def resize(self, command: Resize) -> None:
        """Grow the contexts to longer sequences and texts."""

    def load_adapters(self, command: LoadAdapters) -> None:
        """Load a set of adapters."""

    def free_adapters(self, command: FreeAdapters) -> None:
        """Free a set of adapters."""

    def cancel(self, request: int) -> None:
        """Drop a request."""


class Intake(threading.Thread):
    """Reads commands, does the work that needs no device, and passes the rest to the batch loop."""

    def __init__(
        self,
        commands: ServerConnection,
        model: LlamaModel,
        loop: BatchLoop,
        hand_over: Callable[[Work, int | None], None],
        output: Output,
        vision: Vision | None = None,
        *,
        path: str,
        seconds: float,
        limits: RunnerLimits | None = None,
    ) -> None:
        """``hand_over`` queues work for the main thread; its second argument is the account that
        waits for the first token of a stream, None for other work.

        ``vision`` encodes images and sounds in prompts. ``path`` is the model file, ``seconds`` the
        processor time that long texts of a command may take. ``limits`` bound templates, threads
        and processes.
        """
        super().__init__(name="intake", daemon=True)
        self._commands = commands
        self._model = model
        self._prompter = Prompter(model, vision, limits)
        self._builder = SequenceBuilder(model, output)
        self._loop = loop
        self._hand_over = hand_over
        self._output = output
        self._path = path
        self._seconds = seconds
        self._limits = limits or RunnerLimits()
        self._queues = {place: AccountQueue[Job]() for place in PreparationPlace}
        # Guards the jobs, and the order in which a request and its end are handed over.
        self._lock = threading.Lock()
        self._jobs: dict[int, tuple[Job, AccountQueue[Job]]] = {}

    def run(self) -> None:
        """Work until the process ends."""
        for number in range(self._limits.preparation_threads):
            threading.Thread(
                target=self._work_in_thread, name=f"prepare-{number}", daemon=True
            ).start()
        for number in range(self._limits.preparation_processes):
            threading.Thread(
                target=self._work_with_process, name=f"process-{number}", daemon=True
            ).start()
        while True:
            self._receive(self._commands.receive())
            while self._prepare_short():
                pass

    def _prepare_short(self) -> bool:
        """Receive all commands, then prepare the short one whose turn it is."""
        for data in self._commands.receive_present():
            self._receive(data)
        with self._queues[PreparationPlace.INTAKE].next(timeout=0) as job:
            if job:
                self._do(job, partial(self._prepare, may_be_slow=False))
        return job is not None

    def _work_in_thread(self) -> None:
        while True:
            with self._queues[PreparationPlace.THREAD].next() as job:
                if job:
                    self._do(job, partial(self._prepare, may_be_slow=True))

    def _work_with_process(self) -> None:
        preparer = Preparer(self._path, self._seconds, self._limits)
        timeout: float | None = None
        while True:
            with self._queues[PreparationPlace.PROCESS].next(timeout) as job:
                if job:
                    self._do(job, partial(self._prepare_in_process, preparer))
                else:
                    preparer.close()
            timeout = self._limits.preparation_idle if job else None

    def _receive(self, data: bytes) -> None:
        """Queue a command for preparation, or pass it on at once if it needs none."""
        placed = place_of(data, self._limits.preparation_bytes)
        if placed is None:
            command = _commands.decode(data)
            if isinstance(command, Cancel):
                self._cancel(command.request)
            elif isinstance(command, Resize):
                self._hand_over(partial(self._loop.resize, command), None)
            elif isinstance(command, LoadAdapters):
                self._hand_over(partial(self._loop.load_adapters, command), None)
            elif isinstance(command, FreeAdapters):
                self._hand_over(partial(self._loop.free_adapters, command), None)
            return
        queue = self._queues[placed.place]
        job = Job(placed.request, placed.account, data)
        with self._lock:
            self._jobs[job.request] = job, queue
        queue.put(job.account, job)

    def _cancel(self, request: int) -> None:
        with self._lock:
            job, queue = self._jobs.pop(request, (None, None))
            if job and queue:
                job.cancel()
                queue.drop(job.account, job)
            self._hand_over(partial(self._loop.cancel, request), None)

    def _do(self, job: Job, prepare: Callable[[Job], None]) -> None:
        """Prepare a command, unless it is cancelled; an error becomes its answer."""
        request = job.request
        try:
            job.check()
            prepare(job)
        except TakesLong:
            self._set_aside(job)
            return
        except Cancelled:
            pass
        except OllamaError as error:
            self._output.event(Failed(request, error.status, error.message))
        except Exception as error:
            self._output.event(Failed(request, 500, f"{type(error).__name__}: {error}"))
        with self._lock:
            self._jobs.pop(request, None)

    def _set_aside(self, job: Job) -> None:
        """Queue a command with a slow template for a thread, where no other account waits."""
        with self._lock:
            if job.request in self._jobs:
                queue = self._queues[PreparationPlace.THREAD]
                self._jobs[job.request] = job, queue
                queue.put(job.account, job)

    def _pass_on(self, job: Job, work: Work, is_urgent: bool = False) -> None:
        """Hand over the result of a job, unless its request was cancelled meanwhile."""
        with self._lock:
            job.check()
            self._hand_over(work, job.account if is_urgent else None)

    def _prepare(self, job: Job, may_be_slow: bool) -> None:
        """Prepare a command. Unless ``may_be_slow``, raises TakesLong for a slow template."""
        command = _commands.decode(job.data)
        if isinstance(command, Generate):
            longest = self._loop.longest
            read, answer = read_prompt(
                self._prompter, self._model, command, longest, job.check, may_be_slow=may_be_slow
            )
            self._generate(command, read, answer, job)
        elif isinstance(command, Score):
            prompt, continuations = split_score(
                self._prompter,
                self._model,
                command,
                self._loop.longest,
                job.check,
                may_be_slow=may_be_slow,
            )
            self._score(command, prompt, continuations, job)
        elif isinstance(command, Embed):
            tokens = long_texts(self._model, command, self._loop.longest_text, job.check)
            self._pass_on(job, partial(self._loop.embed, EmbedJob(command, tokens)))
        elif isinstance(command, Tokenize | Detokenize | Render):
            self._output.event(
                vocabulary_answer(self._prompter, self._model, command, may_be_slow=may_be_slow)
            )

    def _prepare_in_process(self, preparer: Preparer, job: Job) -> None:
        """Have a process tokenize the texts of a command, and do the rest here."""
        prepared = preparer.prepare(job, self._loop.longest, self._loop.longest_text)
        if isinstance(prepared, Answered):
            self._output.answer(prepared.events)
        elif isinstance(prepared, Read):
            command = prepared.command
            read = ReadPrompt(
                prepared.tokens,
                prepared.text,
                prepared.num_ctx,
                prepared.keep,
                prepared.lost,
                system=prepared.system,
            )
            self._generate(command, read, AnswerReader(self._model, command, read.text), job)
        elif isinstance(prepared, LongTexts):
            embed = EmbedJob(prepared.command, prepared.tokens)
            self._pass_on(job, partial(self._loop.embed, embed))
        else:
            scored = _scores.decode(job.data)
            self._score(scored, prepared.prompt, prepared.continuations, job)

    def _score(
        self, command: Score, prompt: list[int], continuations: list[list[int]], job: Job
    ) -> None:
        sequences = score_sequences(
            command.request,
            prompt,
            continuations,
            context_of(command.num_ctx, self._loop.longest),
            command.sharing.account,
            partial(self._model.piece, special=True),
            command.adapters,
        )

        def generate() -> None:
            for sequence in sequences:
                self._loop.generate(sequence)

        self._pass_on(job, generate)

    def _generate(
        self, command: Generate, read: ReadPrompt, answer: AnswerReader, job: Job
    ) -> None:
        sequence = self._builder.build(command, read, answer, job)
        self._pass_on(job, partial(self._loop.generate, sequence), command.stream)
