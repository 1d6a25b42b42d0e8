"""The context in which one long prompt is read beside the streams of the batch loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .batch import Batch
from .llama_context import LlamaContext
from .pausable_decode import PausableDecode
from .saved_state import PART
from .step_costs import StepContents

_PROMPT, _SPARE = 0, 1
"""The sequences of the context."""


class PrefillContext:
    """Has the first ``length`` tokens of a prompt, and reads a part of the next ones.

    The cells of the batch loop are in another context, from which and to which tokens are copied
    by way of a sequence that is not in use.
    """

    def __init__(self, context: LlamaContext, is_wanted: Callable[[], bool]) -> None:
        """``is_wanted`` returns True if the batch loop has other work, which ends a slice."""
        self.context = context
        self.length = 0
        self.part: StepContents | None = None
        """The part that is being read, or was read and is not taken over yet."""
        self.seconds = 0.0
        """How long the part was computed so far."""
        self._batch = Batch(context.batch)
        self._decode = PausableDecode(context, is_wanted)

    @property
    def capacity(self) -> int:
        """The most tokens of a part."""
        return self._batch.capacity

    @property
    def is_read(self) -> bool:
        """True if the part waits to be taken over."""
        return self.part is not None and self._decode.code is not None

    @property
    def longest_operation(self) -> float:
        """The seconds of the longest operation of the part, which streams had to wait for."""
        return self._decode.longest_operation

    def begin(self, tokens: list[int]) -> None:
        """Begin to read the next tokens of the prompt."""
        self._batch.clear()
        self._batch.add(tokens, self.length, _PROMPT, outputs="none")
        self.part, self.seconds = StepContents.of_prompt(len(tokens), self.length), 0.0
        self._decode.start(self._batch)

    def run(self, seconds: float) -> None:
        """Read for so many seconds, or less."""
        self.seconds += self._decode.run(seconds)

    def take_over(self) -> StepContents | None:
        """Count the tokens of the part that was read; None if llama.cpp could not read it."""
        part, self.part = self.part, None
        if part is None or self._decode.code != 0:
            return None
        self.length += part.prefill
        return part

    def give_up(self) -> None:
        """Drop the part that is being read."""
        self._decode.abort()
        self.part = None

    def forget(self) -> None:
        """Drop the prompt, and the part that is being read."""
        self.give_up()
        self.context.forget(-1)
        self.length = 0

    def close(self) -> None:
        """End the thread; the context is not used any more."""
        self._decode.close()

    def copy_from(self, cells: LlamaContext, slot: int, spare: int, end: int) -> bool:
        """Append the tokens of a running sequence up to ``end``; False if that fails."""
        if spare < 0:
            return False
        for first, last in self._parts(self.length, end):
            part = cells.save_part(slot, spare, first, last)
            if part is None or not self.context.add_part(_PROMPT, _SPARE, part):
                return False
            self.length = last
        return True

    def copy_to(self, cells: LlamaContext, slot: int, spare: int, start: int, end: int) -> int:
        """Append the tokens from ``start`` to ``end`` to a running sequence.

        Returns the end of the tokens that were copied: there may be no free cells for all.
        """
        if spare < 0:
            return start
        for first, last in self._parts(start, end):
            part = self.context.save_part(_PROMPT, _SPARE, first, last)
            if part is None or not cells.add_part(slot, spare, part):
                return first
        return end

    def _parts(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Divide tokens: with sliding windows, llama.cpp saves no more than a window."""
        step = min(self.context.window or PART, PART)
        return ((first, min(first + step, end)) for first in range(start, end, step))
