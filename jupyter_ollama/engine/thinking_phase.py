"""Thinking before an answer: no constraint applies to it, and a budget may end it."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..parsing.parsed import Parser
    from .constraint import TokenConstraint
    from .llama_model import LlamaModel


class ThinkingPhase:
    """A constraint that applies after ``parser`` has read the end of thinking.

    After ``budget`` tokens of thinking, the text that the parser knows as its end must follow.
    Without a ``constraint`` the answer itself is free.
    """

    def __init__(
        self,
        parser: Parser,
        model: LlamaModel,
        constraint: TokenConstraint | None = None,
        budget: int | None = None,
    ) -> None:
        self._constraint = constraint
        self._parser = parser
        self._model = model
        self._budget = budget
        self._spent = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._is_over = False

    @property
    def is_needless(self) -> bool:
        """True if everything may follow from here on."""
        return self._is_over and self._constraint is None

    def prepare(self) -> None:
        """Compute the mask for the next token. Raises OllamaError(500)."""
        if constraint := self._applied:
            constraint.prepare()

    def allows(self, token: int) -> bool:
        """Return whether a token may follow."""
        constraint = self._applied
        return constraint is None or constraint.allows(token)

    def apply(self, logits: NDArray[np.float32]) -> None:
        """Set the logits (n_vocab float32) of tokens that may not follow to -inf, in place."""
        if constraint := self._applied:
            constraint.apply(logits)

    def accept(self, token: int) -> None:
        """Advance by a token. Raises ValueError if it may not follow."""
        if self._is_over:
            if self._constraint:
                self._constraint.accept(token)
            return
        self._spent += 1
        self._parser.feed(self._decoder.decode(self._model.piece(token, special=True)))
        self._is_over = not self._parser.thinking

    def forced(self) -> list[int]:
        """Return tokens that must follow, each of which is to be accepted."""
        if constraint := self._applied:
            return constraint.forced()
        if self._is_over or self._budget is None or self._spent < self._budget:
            return []
        closing = self._parser.closing
        if not closing:  # thinking has not begun, or a call is being written
            return []
        self._budget = None
        # A constraint sees all that follows the tag, and a grammar may allow no blank there.
        text = closing.rstrip() if self._constraint else closing
        return self._model.tokenize(text, special=False)

    @property
    def is_over(self) -> bool:
        """True if only the end may follow."""
        constraint = self._applied
        return constraint is not None and constraint.is_over

    @property
    def _applied(self) -> TokenConstraint | None:
        return self._constraint if self._is_over else None
