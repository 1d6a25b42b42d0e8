"""Makes sequences for the batch loop of prompts that are tokenized."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING

import msgspec

from .events import Truncated
from .progress import PromptProgress
from .protocol import Generate
from .repetition import RepetitionDetector
from .sampling import Sampler
from .sequence import OutputState, Sequence, SequenceParams
from .text_stream import TextStream

if TYPE_CHECKING:
    from .account_queue import Job
    from .answers import AnswerReader
    from .constraint import ConstraintCompiler
    from .llama_model import LlamaModel
    from .output import Output
    from .preparation import ReadPrompt

CONTEXTS_OF_AN_ANSWER = 10
"""The longest answer, as a multiple of num_ctx: it ends a model that never stops, as in Ollama."""


class SequenceBuilder:
    """Makes the sequences of one model. Any thread may call it."""

    def __init__(self, model: LlamaModel, output: Output) -> None:
        self._model = model
        self._output = output

    def build(
        self, command: Generate, read: ReadPrompt, answer: AnswerReader, job: Job
    ) -> Sequence:
        """Return the sequence of a prompt; compiling its constraint may take seconds.

        Raises Cancelled if ``job`` is cancelled meanwhile, and OllamaError.
        """
        sequence = self._sequence(command, read, answer)
        compiled = None
        if command.constraint:
            account = command.sharing.account
            compiled = self._constraints.compile(command.constraint, account, job)
        sequence.constraint = answer.constrained(compiled)
        if sequence.constraint:
            sequence.constraint.prepare()
        return sequence

    @cached_property
    def _constraints(self) -> ConstraintCompiler:
        from .constraint import ConstraintCompiler  # most runners never need it

        return ConstraintCompiler(self._model)

    def _sequence(self, command: Generate, read: ReadPrompt, answer: AnswerReader) -> Sequence:
        num_ctx = read.num_ctx
        options = msgspec.structs.replace(command.options, num_ctx=num_ctx)
        if read.lost:
            self._output.event(Truncated(command.request, read.lost))
        cap = CONTEXTS_OF_AN_ANSWER * num_ctx
        params = SequenceParams(
            request=command.request,
            num_ctx=num_ctx,
            num_predict=min(options.num_predict, cap) if options.num_predict > 0 else cap,
            num_keep=read.keep,
            shift=command.shift,
            truncated=read.lost,
            draft_num_predict=options.draft_num_predict,
            return_context=command.return_context,
            stream=command.stream,
            top_logprobs=command.logprobs,
            media=read.media,
            account=command.sharing.account,
            system=read.system,
            adapters=command.adapters,
        )
        output = OutputState(TextStream(options.stop), answer.parser(), self._repetition(command))
        progress = PromptProgress(command.request, self._output.event) if command.progress else None
        sampler = Sampler(self._model, options, read.tokens)
        return Sequence(params, read.tokens, sampler, output, progress=progress)

    def _repetition(self, command: Generate) -> RepetitionDetector | None:
        if not command.options.repetition_stop:
            return None
        piece = partial(self._model.piece, special=True)
        return RepetitionDetector(piece, structured=command.constraint is not None)
