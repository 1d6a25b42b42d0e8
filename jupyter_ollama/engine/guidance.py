"""llguidance by its C interface, which its extension module for Python exports, too.

The classes for Python hold the interpreter's lock while they read a vocabulary, for seconds if it
has 262,000 words, and no stream gets a token meanwhile. Calls by ctypes release it.
"""

from __future__ import annotations

import ctypes
import weakref
from array import array
from collections.abc import Callable, Sequence
from ctypes import POINTER, c_bool, c_char_p, c_int32, c_size_t, c_uint8, c_uint32, c_void_p
from typing import Any

import llguidance._lib

SPECIAL = b"\xff"
"""llguidance's prefix for the bytes of a token that is not text."""

_TOKENIZE = ctypes.CFUNCTYPE(
    c_size_t, c_void_p, POINTER(c_uint8), c_size_t, POINTER(c_uint32), c_size_t
)
_SLICES = tuple(rb'[^"\\\x00-\x1F\x7F]' + count for count in (b"{1,10}", b"{1,30}", b"+"))
"""Kinds of tokens whose masks are computed in advance: those that may continue a string.

llguidance's own choice includes blanks, which take long and are of no use in one line.
"""
_USUALLY_FORCED, _MOST_FORCED = 1 << 6, 1 << 14
_MOST_WARNINGS = 1 << 12
_GRAMMAR = b"llguidance"
"""The type of a grammar in Lark or in llguidance's own JSON."""


class _TokenizerInit(ctypes.Structure):
    """LlgTokenizerInitV2 of llguidance.h."""

    _fields_ = (
        ("struct_size", c_size_t),
        ("vocab_size", c_uint32),
        ("tok_eos", c_uint32),
        ("token_lens", c_void_p),
        ("token_bytes", c_char_p),
        ("tokenizer_json", c_char_p),
        ("tokenize_assumes_string", c_bool),
        ("tokenize_fn", _TOKENIZE),
        ("use_approximate_greedy_tokenize_fn", c_bool),
        ("tokenize_user_data", c_void_p),
        ("slices", POINTER(c_char_p)),
        ("tok_eos_extra", c_void_p),
        ("tok_eos_extra_count", c_uint32),
    )


class _MatcherInit(ctypes.Structure):
    """LlgConstraintInit of llguidance.h, with LlgParserLimits in it."""

    _fields_ = (
        ("tokenizer", c_void_p),
        ("log_buffer_level", c_uint32),
        ("log_stderr_level", c_uint32),
        ("ff_tokens_ok", c_bool),
        ("backtrack_ok", c_bool),
        ("max_items_in_row", c_size_t),
        ("initial_lexer_fuel", ctypes.c_uint64),
        ("step_lexer_fuel", ctypes.c_uint64),
        ("step_max_items", c_size_t),
        ("max_lexer_states", c_size_t),
        ("max_grammar_size", c_size_t),
        ("precompute_large_lexemes", c_bool),
        ("verbose_errors", c_bool),
        ("later", c_uint8 * 128),  # space for fields of later versions
    )


def _bound(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    function = library["llg_" + name]
    function.restype, function.argtypes = result, arguments
    return function


_PATH = llguidance._lib.__file__
# Long calls release the interpreter's lock, calls of microseconds keep it.
_slow, _quick = ctypes.CDLL(_PATH), ctypes.PyDLL(_PATH)
_MATCHER = c_void_p
_new_tokenizer = _bound(
    _slow, "new_tokenizer_v2", c_void_p, POINTER(_TokenizerInit), c_char_p, c_size_t
)
_free_tokenizer = _bound(_slow, "free_tokenizer", None, c_void_p)
_new_matcher = _bound(_slow, "new_matcher", c_void_p, POINTER(_MatcherInit), c_char_p, c_char_p)
_validate = _bound(
    _slow, "validate_grammar", c_int32,
    POINTER(_MatcherInit), c_char_p, c_char_p, c_char_p, c_size_t,
)  # fmt: skip
_set_defaults = _bound(
    _quick, "constraint_init_set_defaults", None, POINTER(_MatcherInit), c_void_p
)
_free_matcher = _bound(_slow, "free_matcher", None, _MATCHER)
_clone_matcher = _bound(_quick, "clone_matcher", c_void_p, _MATCHER)
_compute_mask = _bound(_slow, "matcher_compute_mask_into", c_int32, _MATCHER, c_void_p, c_size_t)
_valid_tokens = _bound(
    _quick, "matcher_validate_tokens", c_int32, _MATCHER, POINTER(c_uint32), c_size_t
)
_consume_token = _bound(_quick, "matcher_consume_token", c_int32, _MATCHER, c_uint32)
_forced_tokens = _bound(
    _quick, "matcher_compute_ff_tokens", c_int32, _MATCHER, POINTER(c_uint32), c_size_t
)
_rollback = _bound(_quick, "matcher_rollback", c_int32, _MATCHER, c_size_t)
_is_stopped = _bound(_quick, "matcher_is_stopped", c_bool, _MATCHER)
_is_error = _bound(_quick, "matcher_is_error", c_bool, _MATCHER)
_get_error = _bound(_quick, "matcher_get_error", c_char_p, _MATCHER)


class Tokenizer:
    """A vocabulary as llguidance searches it: a tree of the bytes of all tokens."""

    def __init__(
        self,
        pieces: Sequence[bytes],
        ends: Sequence[int],
        tokenize: Callable[[bytes], list[int]] | None = None,
    ) -> None:
        """Read the bytes of every token. Takes seconds, without the interpreter's lock.

        ``tokenize`` splits text, in UTF-8, as the model's tokenizer does, and may be called from
        any thread. Without it the vocabulary serves for trials: nothing is forced, and masks take
        longer. Raises ValueError.
        """
        self.vocab_size = len(pieces)
        # Without numpy: its import takes more memory than a trial has on a host of many cores.
        lengths, extra = array("I", map(len, pieces)), array("I", ends[1:])
        init = _TokenizerInit(
            struct_size=ctypes.sizeof(_TokenizerInit),
            vocab_size=len(pieces),
            tok_eos=ends[0],
            token_lens=lengths.buffer_info()[0],
            token_bytes=b"".join(pieces),
            tok_eos_extra=extra.buffer_info()[0],
            tok_eos_extra_count=len(extra),
        )
        slices = _SLICES if tokenize else ()
        init.slices = (c_char_p * (len(slices) + 1))(*slices, None)
        if tokenize is None:
            init.use_approximate_greedy_tokenize_fn = True
        else:
            self._callback = _TOKENIZE(_writing(tokenize))
            init.tokenize_fn = self._callback
            init.tokenize_assumes_string = True
        reason = ctypes.create_string_buffer(1 << 10)
        self.pointer = _new_tokenizer(init, reason, len(reason))
        if not self.pointer:
            raise ValueError(reason.value.decode("utf-8", "replace"))
        weakref.finalize(self, _free_tokenizer, self.pointer)


def _writing(tokenize: Callable[[bytes], list[int]]) -> Callable[..., int]:
    def write(_: Any, text: Any, length: int, output: Any, capacity: int) -> int:
        tokens = tokenize(ctypes.string_at(text, length))
        for index, token in enumerate(tokens[:capacity]):
            output[index] = token
        return len(tokens)

    return write


class Matcher:
    """A position in a grammar. Use it from one thread at a time."""

    def __init__(self, tokenizer: Tokenizer, grammar: str) -> None:
        """Compile a grammar; ``error`` has the reason if it is invalid."""
        self._tokenizer = tokenizer
        self._init = _MatcherInit()
        _set_defaults(self._init, tokenizer.pointer)
        self._init.log_buffer_level = self._init.log_stderr_level = 0
        # Nothing is computed in advance: a trial with another vocabulary could not test it.
        self._init.precompute_large_lexemes = self._init.verbose_errors = False
        self._grammar = grammar.encode("utf-8", "replace")
        self._own(_new_matcher(self._init, _GRAMMAR, self._grammar))

    def _own(self, pointer: int) -> None:
        self._pointer = pointer
        weakref.finalize(self, _free_matcher, pointer)

    def copy(self) -> Matcher:
        """Return another matcher at the same position."""
        other = object.__new__(Matcher)
        other._tokenizer, other._init, other._grammar = self._tokenizer, self._init, self._grammar
        other._own(_clone_matcher(self._pointer))
        return other

    @property
    def error(self) -> str | None:
        """The reason of a failure, None without one."""
        if not _is_error(self._pointer):
            return None
        text: bytes = _get_error(self._pointer) or b""
        return text.decode("utf-8", "replace")

    @property
    def is_stopped(self) -> bool:
        """True if only the end may follow, or it failed."""
        return bool(_is_stopped(self._pointer))

    def warnings(self) -> str:
        """Return which parts of the grammar are not enforced, "" for none."""
        buffer = ctypes.create_string_buffer(_MOST_WARNINGS)
        found = _validate(self._init, _GRAMMAR, self._grammar, buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if found == 1 else ""

    def compute_mask(self, address: int, size: int) -> None:
        """Write a bit for each token, set if it may follow: ``size`` bytes. May set ``error``."""
        _compute_mask(self._pointer, address, size)

    def try_consume(self, token: int) -> bool:
        """Advance by a token if it may follow; return whether it may."""
        if _valid_tokens(self._pointer, c_uint32(token), 1) != 1:
            return False
        return bool(_consume_token(self._pointer, token) == 0)

    def forced(self) -> list[int]:
        """Return the tokens that must follow."""
        for most in (_USUALLY_FORCED, _MOST_FORCED):
            buffer = (c_uint32 * most)()
            count = _forced_tokens(self._pointer, buffer, most)
            if count < most:
                break
        return buffer[:count] if count > 0 else []

    def rollback(self, count: int) -> bool:
        """Remove the last tokens; False if that failed."""
        return bool(_rollback(self._pointer, count) == 0)
