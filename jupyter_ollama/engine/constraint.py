"""Constrained decoding: the tokens that may come next, by llguidance. Runner process only."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..errors import OllamaError, one_line
from .account_queue import Job
from .constraint_vocabulary import Vocabulary, read_vocabulary
from .digits import NumberScanner
from .grammar import GrammarError, compile_grammar, reason
from .guidance import Matcher
from .llama_model import LlamaModel
from .protocol import Constraint

log = logging.getLogger(__name__)

_KEPT = 32
"""Compiled constraints that a model keeps."""
Kept = tuple[int, Constraint]
"""A compiled constraint, and the account that it is kept for; 0 means all."""
_TITLES = {"json": "JSON", "schema": "JSON schema", "grammar": "grammar"}

_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
_BIASES = np.where(_BITS, np.float32(0), np.float32(-np.inf))
"""Added to the logits of eight tokens, for each value of a mask's byte: [256, 8] float32."""


class ConstraintCompiler:
    """Compiles constraints for one model's tokens. Thread-safe."""

    def __init__(self, model: LlamaModel) -> None:
        self._model = model
        self._reading = threading.Lock()
        self._vocabulary: Vocabulary | None = None
        self._keeping = threading.Lock()
        self._compiled: OrderedDict[Kept, Matcher] = OrderedDict()

    def compile(
        self, constraint: Constraint, account: int = 0, job: Job | None = None
    ) -> TokenConstraint:
        """Return a constraint for a new sequence. Raises OllamaError(400) if it is invalid.

        It is kept for the ``account``: for another one it is compiled again. The first call reads
        the vocabulary: 0.3 s for 49,000 tokens, 2 s for 262,000, while other threads continue.
        Later a constraint takes milliseconds, or 0.1 s and up to seconds if it is tried in a child
        process first, and microseconds if it was compiled before. If the request of a ``job`` is
        cancelled meanwhile, Cancelled is raised and the child process ends.
        """
        key = (account if constraint.text else 0, constraint)
        with self._keeping:
            matcher = self._compiled.get(key)
            if matcher is not None:
                self._compiled.move_to_end(key)
        if matcher is None:
            matcher = self._compile(key, job or Job(0, 0, b""))
        numbers = NumberScanner() if constraint.kind != "grammar" else None
        return TokenConstraint(self.vocabulary, matcher.copy(), partial(self._forget, key), numbers)

    @property
    def vocabulary(self) -> Vocabulary:
        """The model's vocabulary, read once."""
        with self._reading:
            if self._vocabulary is None:
                self._vocabulary = read_vocabulary(self._model)
            return self._vocabulary

    def _compile(self, key: Kept, job: Job) -> Matcher:
        _, constraint = key
        title = _TITLES[constraint.kind]
        try:
            tokenizer = self.vocabulary.tokenizer
            matcher = compile_grammar(tokenizer, constraint.kind, constraint.text, job)
        except GrammarError as error:
            raise OllamaError(400, f"invalid {title} in format: {error}") from None
        if warnings := matcher.warnings():
            log.warning(
                "A %s is not enforced in full: %s", title, one_line(warnings.replace("\n", "; "))
            )
        with self._keeping:
            self._compiled[key] = matcher
            if len(self._compiled) > _KEPT:
                self._compiled.popitem(last=False)
        return matcher

    def _forget(self, key: Kept) -> None:
        with self._keeping:
            self._compiled.pop(key, None)


class TokenConstraint:
    """The tokens that may come next in one sequence. Use it from one thread at a time.

    After the creation and after every change, ``prepare`` computes the mask; methods that need the
    mask call it if it was not called before.
    """

    is_needless = False

    def __init__(
        self,
        vocabulary: Vocabulary,
        matcher: Matcher,
        forget: Callable[[], None],
        numbers: NumberScanner | None = None,
    ) -> None:
        """Follow a matcher. ``forget`` is called if it fails, since its copies would fail, too.

        ``numbers`` is for JSON: it makes numbers end.
        """
        self._matcher = matcher
        self._vocabulary = vocabulary
        self._numbers = numbers
        self._forget = forget
        self._ended = False
        self._is_prepared = False
        self._mask = np.zeros((vocabulary.size + 31) // 32, np.uint32)
        self._address, self._bytes = self._mask.ctypes.data, self._mask.view(np.uint8)
        self._words = self._mask.data

    def prepare(self) -> None:
        """Compute the mask for the next token, without the GIL. Raises OllamaError(500)."""
        if self._is_prepared:
            return
        self._matcher.compute_mask(self._address, self._mask.nbytes)
        self._check()
        if self._numbers is not None and self._numbers.number:
            self._bound(self._numbers.number)
        self._is_prepared = True

    def _bound(self, number: bytes) -> None:
        """Forbid the digits that would make a number too long, unless the schema demands them."""
        too_many = self._vocabulary.digits.too_many_after(number)
        if too_many is not None and (self._mask & ~too_many).any():
            self._mask &= ~too_many

    @property
    def mask(self) -> NDArray[np.uint32]:
        """One bit a token, set if it may follow: bit ``t % 32`` of word ``t // 32``. A view."""
        self.prepare()
        return self._mask

    def allows(self, token: int) -> bool:
        """Return whether a token may follow."""
        self.prepare()
        return bool(self._words[token >> 5] >> (token & 31) & 1)

    def allowed_ids(self, at_most: int) -> NDArray[np.intp] | None:
        """Return the tokens that may follow, in order, or None if they are too many."""
        self.prepare()
        if int(np.bitwise_count(self._mask).sum()) > at_most:
            return None
        filled = np.flatnonzero(self._mask)
        rows, bits = np.nonzero(_BITS[self._mask[filled].view(np.uint8)].reshape(-1, 32))
        ids: NDArray[np.intp] = filled[rows] * 32 + bits
        return ids

    def apply(self, logits: NDArray[np.float32]) -> None:
        """Set the logits (n_vocab float32) of tokens that may not follow to -inf, in place."""
        self.prepare()
        logits += _BIASES.take(self._bytes, axis=0).reshape(-1)[: logits.size]

    def accept(self, token: int) -> None:
        """Advance by a token. Raises ValueError, without a change, if its text may not follow.

        Where text is forced, the mask allows only the tokenizer's own split of it, this any split.
        """
        if not self._matcher.is_stopped:
            accepted = self._matcher.try_consume(token)
            self._check()
        else:
            accepted = not self._ended and token in self._vocabulary.ends
            self._ended = self._ended or accepted
        if not accepted:
            raise ValueError(f"token {token} may not follow")
        if self._numbers is not None:
            self._numbers.feed(self._vocabulary.pieces[token])
        self._is_prepared = False

    def forced(self) -> list[int]:
        """Return the tokens that must follow, split as the model's tokenizer splits their text.

        They need no sampling: accept each and give all to the model at once (they may be more than
        a batch). Empty if there is a choice of text or of its tokens.
        """
        return [] if self._matcher.is_stopped else self._matcher.forced()

    @property
    def is_over(self) -> bool:
        """True if only the end may follow."""
        return self._matcher.is_stopped

    def rollback(self, count: int) -> None:
        """Remove the last ``count`` accepted tokens."""
        if self._numbers is not None:
            self._numbers.rollback(count)
        if self._ended and count:
            self._ended = False
            count -= 1
        if not self._matcher.rollback(count):
            self._check()
        self._is_prepared = False

    def _check(self) -> None:
        if self._matcher.error is not None:
            self._forget()
            message = f"the answer can be constrained no further: {reason(self._matcher)}"
            raise OllamaError(500, message)
