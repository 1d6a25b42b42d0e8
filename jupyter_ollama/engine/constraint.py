"""Constrained decoding: which tokens may come next, by llguidance. Runner process only."""

from __future__ import annotations

import ctypes
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from ..errors import OllamaError
from .grammar import GrammarError, compile_grammar, reason
from .llama_model import LlamaModel
from .protocol import Constraint

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

log = logging.getLogger(__name__)

_KEPT = 32
"""How many compiled constraints a model keeps."""
_LONGEST_PIECE = 1 << 14
_SPECIAL = b"\xff"
"""What llguidance puts before the bytes of a token that is not text."""
_TITLES = {"json": "JSON", "schema": "JSON schema", "grammar": "grammar"}

_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
_BIASES = np.where(_BITS, np.float32(0), np.float32(-np.inf))
"""What to add to the logits of eight tokens for each value of a mask's byte, [256, 8] float32."""


@dataclass(frozen=True)
class Vocabulary:
    """A model's tokens as llguidance wants them. ``size`` may be one more than the model has."""

    tokenizer: LLTokenizer
    size: int
    ends: frozenset[int]


class ConstraintCompiler:
    """Makes constraints for one model's tokens. Safe to use from several threads."""

    def __init__(self, model: LlamaModel) -> None:
        self._model = model
        self._reading = threading.Lock()
        self._vocabulary: Vocabulary | None = None
        self._keeping = threading.Lock()
        self._compiled: OrderedDict[Constraint, LLMatcher] = OrderedDict()

    def compile(self, constraint: Constraint) -> TokenConstraint:
        """Return a constraint for a new sequence. Raises OllamaError(400) for what cannot be one.

        The first call reads the vocabulary: 0.3 s for 49,000 tokens, 2 s for 262,000. After that
        a constraint takes milliseconds, or 0.1 s and up to seconds if it is tried apart first, and
        microseconds if it was compiled before.
        """
        with self._keeping:
            matcher = self._compiled.get(constraint)
            if matcher is not None:
                self._compiled.move_to_end(constraint)
        if matcher is None:
            matcher = self._compile(constraint)
        return TokenConstraint(
            self.vocabulary, matcher.deep_copy(), partial(self._forget, constraint)
        )

    @property
    def vocabulary(self) -> Vocabulary:
        """The model's vocabulary, read once."""
        with self._reading:
            if self._vocabulary is None:
                self._vocabulary = _read_vocabulary(self._model)
            return self._vocabulary

    def _compile(self, constraint: Constraint) -> LLMatcher:
        title = _TITLES[constraint.kind]
        try:
            matcher = compile_grammar(self.vocabulary.tokenizer, constraint.kind, constraint.text)
        except GrammarError as error:
            raise OllamaError(400, f"invalid {title} in format: {error}") from None
        if warnings := matcher.get_grammar_warnings():
            log.warning("A %s is not enforced in full: %s", title, "; ".join(warnings))
        with self._keeping:
            self._compiled[constraint] = matcher
            if len(self._compiled) > _KEPT:
                self._compiled.popitem(last=False)
        return matcher

    def _forget(self, constraint: Constraint) -> None:
        with self._keeping:
            self._compiled.pop(constraint, None)


class TokenConstraint:
    """What one sequence may say next. To be used by one thread at a time.

    After the creation and after every change, ``prepare`` computes the mask; all that needs one
    calls it by itself if it was not called before.
    """

    def __init__(
        self, vocabulary: Vocabulary, matcher: LLMatcher, forget: Callable[[], None]
    ) -> None:
        """Follow a matcher. ``forget`` is called if it fails, as its kin will then fail, too."""
        self._matcher = matcher
        self._ends = vocabulary.ends
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
        self._matcher.unsafe_compute_mask_ptr(self._address, self._mask.nbytes)
        self._check()
        self._is_prepared = True

    @property
    def mask(self) -> NDArray[np.uint32]:
        """One bit a token, set if it may follow: bit ``t % 32`` of word ``t // 32``. A view."""
        self.prepare()
        return self._mask

    def allows(self, token: int) -> bool:
        """Tell whether a token may follow."""
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
        """Go on by a token. Raises ValueError, and stays as it was, if its text may not follow.

        Where text is forced, the mask allows only the tokenizer's own split of it, this any.
        """
        if not self._matcher.is_stopped():
            accepted = self._matcher.try_consume_tokens([token]) == 1
            self._check()
        else:
            accepted = not self._ended and token in self._ends
            self._ended = self._ended or accepted
        if not accepted:
            raise ValueError(f"token {token} may not follow")
        self._is_prepared = False

    def forced(self) -> list[int]:
        """Return tokens that must follow, split as the model's tokenizer would split their text.

        They need no sampling: accept each and give all to the model at once (they may be more than
        a batch). Empty if there is a choice of text or of its tokens.
        """
        return [] if self._matcher.is_stopped() else self._matcher.compute_ff_tokens()

    @property
    def is_over(self) -> bool:
        """True if nothing but the end may follow."""
        return self._matcher.is_stopped()

    def rollback(self, count: int) -> None:
        """Take back the last ``count`` accepted tokens."""
        if self._ended and count:
            self._ended = False
            count -= 1
        if not self._matcher.rollback(count):
            self._check()
        self._is_prepared = False

    def _check(self) -> None:
        if self._matcher.is_error():
            self._forget()
            message = f"the answer can be constrained no further: {reason(self._matcher)}"
            raise OllamaError(500, message)


def _read_vocabulary(model: LlamaModel) -> Vocabulary:
    from llguidance import LLTokenizer

    ends = [token for token in range(model.n_vocab) if model.is_end(token)]
    pieces = _read_pieces(model, frozenset(ends))
    if not ends:
        # llguidance needs one: a token that the model does not have.
        ends = [len(pieces)]
        pieces.append(_SPECIAL + b"end")
    try:
        tokenizer = LLTokenizer.from_llamacpp(  # type: ignore[attr-defined]
            tokens=pieces,
            vocab_ptr=model.vocab,
            tokenize_fptr=ctypes.cast(llama.llama_tokenize, ctypes.c_void_p).value,
            eos_token=ends,
        )
    except ValueError as error:
        message = f"answers of this model cannot be constrained: {error}"
        raise OllamaError(500, message) from None
    return Vocabulary(tokenizer, len(pieces), frozenset(ends))


def _read_pieces(model: LlamaModel, ends: frozenset[int]) -> list[bytes]:
    """Return the bytes of every token, marked if it is not text.

    Ends are marked whatever their type: inside of a string they would cut the answer short. Tokens
    that the model's authors defined, such as "<b>", are text for the tokenizer and for readers.
    """
    buffer = ctypes.create_string_buffer(_LONGEST_PIECE)
    pieces: list[bytes] = []
    for token in range(model.n_vocab):
        length = llama.llama_token_to_piece(model.vocab, token, buffer, _LONGEST_PIECE, 0, True)
        piece = ctypes.string_at(buffer, max(length, 0))
        is_text = token not in ends and not llama.llama_vocab_is_control(model.vocab, token)
        pieces.append(piece if is_text else _SPECIAL + piece)
    return pieces
