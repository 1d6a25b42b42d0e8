"""A process that prepares long texts: ``python -m jupyter_ollama.engine.preparer MODEL``.

Rendering or tokenizing a long text in a thread would hold the interpreter's lock, and could not be
stopped. This process has the vocabulary of the model but no weights, a lower priority, and may be
killed.
"""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..errors import OllamaError
from ..layout.model_file import ModelFile
from ..pipe_messages import ModuleProcess, read_message, write_message
from .account_queue import Cancelled
from .account_trees import SystemPrefix
from .events import Event, Failed
from .llama_log import LlamaLog
from .llama_model import LlamaModel
from .low_priority import limit_processor_time, lower_priority
from .preparation import (
    Longest,
    long_texts,
    read_prompt,
    split_score,
    vocabulary_answer,
    without_texts,
)
from .prompting import Prompter
from .protocol import Command, Detokenize, Embed, Generate, Render, Score, Tokenize
from .runner_limits import RunnerLimits

if TYPE_CHECKING:
    from .account_queue import Job

TOO_SLOW = "the texts of this request take too long to prepare"


class Ask(msgspec.Struct, array_like=True):
    """An encoded command, to be prepared within ``seconds`` of processor time.

    ``longest_text`` is the most tokens of a text to embed. ``limits`` bound templates.
    """

    command: bytes
    longest: Longest | None
    longest_text: int
    seconds: float
    limits: RunnerLimits


class Answered(msgspec.Struct, tag=True, array_like=True):
    """The whole answer to the command: a list of events as it goes to the server."""

    events: bytes


class Read(msgspec.Struct, tag=True, array_like=True):
    """A tokenized prompt: `preparation.ReadPrompt`, and the command without its texts."""

    command: Generate
    tokens: list[int]
    text: str
    num_ctx: int
    keep: int
    lost: int
    system: SystemPrefix | None


class Split(msgspec.Struct, tag=True, array_like=True):
    """The tokens of a prompt and of continuations to score."""

    prompt: list[int]
    continuations: list[list[int]]


class LongTexts(msgspec.Struct, tag=True, array_like=True):
    """The tokens of long texts to embed by index, and the command without these texts."""

    command: Embed
    tokens: dict[int, list[int]]


Prepared = Answered | Read | Split | LongTexts

# Made before any thread runs: msgspec inspects a type at its first use, without a lock.
_prepared = msgspec.msgpack.Decoder(Prepared)


class Preparer:
    """The runner's side of one such process, which starts with the first command.

    It serves one thread at a time.
    """

    def __init__(self, model: str, seconds: float, limits: RunnerLimits) -> None:
        """``seconds`` is the processor time of one command; ``limits`` bound templates."""
        self._model = model
        self._seconds = seconds
        self._limits = limits
        self._process: ModuleProcess | None = None

    def prepare(self, job: Job, longest: Longest | None, longest_text: int) -> Prepared:
        """Prepare the command of a job.

        Raises Cancelled once the job is cancelled, and OllamaError: 400 if it takes too long, 500
        if the process cannot be started.
        """
        process = self._started()
        ask = Ask(job.data, longest, longest_text, self._seconds, self._limits)
        try:
            with job.stoppable(process.kill):
                answer = process.ask(msgspec.msgpack.encode(ask))
        except Cancelled:
            self.close()
            raise
        if answer is None:
            raise self._failure()
        return _prepared.decode(answer)

    def _failure(self) -> OllamaError:
        """Return the error for a command whose process has ended."""
        status = self.close()
        if hasattr(signal, "SIGPROF") and status == -signal.SIGPROF:
            return OllamaError(400, TOO_SLOW)
        return OllamaError(500, f"the texts of this request could not be prepared ({status})")

    def _started(self) -> ModuleProcess:
        if self._process is None or not self._process.is_alive:
            self.close()
            self._process = ModuleProcess(__name__, self._model)
        return self._process

    def close(self) -> int:
        """End the process and return its exit status; the next command starts another."""
        process, self._process = self._process, None
        return process.close() if process else 0


class Worker:
    """The process's side: the vocabulary, and the commands that need no weights."""

    def __init__(self, path: str, limits: RunnerLimits) -> None:
        self._log = LlamaLog()
        self._model = LlamaModel(ModelFile(Path(path)), vocab_only=True)
        self._prompter = Prompter(self._model, limits=limits)
        self._commands = msgspec.msgpack.Decoder(Command)

    def prepare(self, ask: Ask) -> Prepared:
        """Prepare a command; an error becomes its answer."""
        command = self._commands.decode(ask.command)
        try:
            return self._prepared(command, ask)
        except OllamaError as error:
            return _answered(Failed(command.request, error.status, error.message))
        except Exception as error:
            return _answered(Failed(command.request, 500, f"{type(error).__name__}: {error}"))

    def _prepared(self, command: Command, ask: Ask) -> Prepared:
        prompter, model = self._prompter, self._model
        if isinstance(command, Generate):
            read, _ = read_prompt(prompter, model, command, ask.longest)
            slim = without_texts(command)
            return Read(
                slim, read.tokens, read.text, read.num_ctx, read.keep, read.lost, read.system
            )
        if isinstance(command, Score):
            return Split(*split_score(prompter, model, command, ask.longest))
        if isinstance(command, Embed):
            tokens = long_texts(model, command, ask.longest_text)
            texts = ["" if place in tokens else text for place, text in enumerate(command.texts)]
            return LongTexts(msgspec.structs.replace(command, texts=texts), tokens)
        assert isinstance(command, Tokenize | Detokenize | Render)
        return _answered(vocabulary_answer(prompter, model, command))


def _answered(event: Event) -> Answered:
    return Answered(msgspec.msgpack.encode([event]))


def main() -> None:
    """Prepare command after command until standard input ends."""
    lower_priority()
    worker: Worker | None = None
    decoder = msgspec.msgpack.Decoder(Ask)
    with suppress(OSError):
        while (message := read_message(sys.stdin.buffer)) is not None:
            ask = decoder.decode(message)
            worker = worker or Worker(sys.argv[1], ask.limits)
            limit_processor_time(ask.seconds)
            prepared = msgspec.msgpack.encode(worker.prepare(ask))
            limit_processor_time(0)
            write_message(sys.stdout.buffer, prepared)


if __name__ == "__main__":
    main()
