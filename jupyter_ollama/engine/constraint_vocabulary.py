"""The vocabulary of a model in the form that llguidance searches."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, chain
from typing import Any

import llama_cpp.llama_cpp as llama

from ..errors import OllamaError
from .digits import DigitTokens
from .guidance import SPECIAL, Tokenizer
from .llama_model import LlamaModel

_LONGEST_PIECE = 1 << 14


class Pieces(Sequence[bytes]):
    """The bytes of all tokens in one object. A list of them takes five times the memory."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        """Copy the bytes of each token."""
        lengths = array("I")
        bytes_of_all = bytearray()
        for piece in pieces:
            bytes_of_all += piece
            lengths.append(len(piece))
        self._bytes = bytes(bytes_of_all)
        self._ends = array("I", accumulate(lengths, initial=0))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, token: Any) -> Any:
        token = range(len(self))[token]
        return self._bytes[self._ends[token] : self._ends[token + 1]]


@dataclass(frozen=True)
class Vocabulary:
    """A model's tokens in llguidance's form, perhaps one more than the model has."""

    tokenizer: Tokenizer
    pieces: Pieces
    ends: frozenset[int]
    digits: DigitTokens

    @property
    def size(self) -> int:
        """The number of tokens."""
        return len(self.pieces)


def read_vocabulary(model: LlamaModel) -> Vocabulary:
    """Read all tokens of a model. Raises OllamaError(500) if they cannot be constrained."""
    ends = [token for token in range(model.n_vocab) if model.is_end(token)]
    read = _read_pieces(model, frozenset(ends))
    if not ends:
        # llguidance needs one: a token that the model does not have.
        ends = [model.n_vocab]
        read = chain(read, [SPECIAL + b"end"])
    pieces = Pieces(read)
    try:
        tokenizer = Tokenizer(pieces, ends, _tokenizing(model, pieces))
    except ValueError as error:
        message = f"answers of this model cannot be constrained: {error}"
        raise OllamaError(500, message) from None
    return Vocabulary(tokenizer, pieces, frozenset(ends), DigitTokens(pieces))


def _tokenizing(model: LlamaModel, pieces: Sequence[bytes]) -> Callable[[bytes], list[int]]:
    """Return a function that splits text as the model does, but adds no blank before it.

    Where the model's tokenizer changes a text, as one without a token for a blank does, the longest
    tokens are taken: the bytes of forced tokens must be the bytes of the text.
    """
    split = _splitting(model, pieces)
    ids: dict[bytes, int] = {}

    def tokenize(text: bytes) -> list[int]:
        tokens = split(text)
        if _text_of(tokens, pieces) == text:
            return tokens
        if not ids:
            ids.update((piece, token) for token, piece in enumerate(pieces) if piece)
        return _longest(text, ids)

    return tokenize


def _splitting(model: LlamaModel, pieces: Sequence[bytes]) -> Callable[[bytes], list[int]]:
    if _text_of(_split(model, b"a"), pieces) == b"a":
        return partial(_split, model)
    guard = _guard(pieces)
    before = _split(model, guard)
    for text in (b"a", guard):
        found = _split(model, guard + text)
        if found[: len(before)] != before or _text_of(found[len(before) :], pieces) != text:
            raise ValueError("its tokenizer changes the text")
    return lambda text: _split(model, guard + text)[len(before) :] if text else []


def _text_of(tokens: list[int], pieces: Sequence[bytes]) -> bytes:
    return b"".join(pieces[token] for token in tokens)


def _longest(text: bytes, ids: dict[bytes, int]) -> list[int]:
    """Split text into the longest tokens from the left, as far as there are any."""
    tokens: list[int] = []
    at, most = 0, max(map(len, ids))
    while at < len(text):
        ends = range(min(at + most, len(text)), at, -1)
        end = next((end for end in ends if text[at:end] in ids), None)
        if end is None:
            break
        tokens.append(ids[text[at:end]])
        at = end
    return tokens


def _split(model: LlamaModel, text: bytes) -> list[int]:
    capacity = len(text) + 8
    while True:
        tokens = (llama.llama_token * capacity)()
        count = llama.llama_tokenize(model.vocab, text, len(text), tokens, capacity, False, False)
        if count >= 0:
            return list(tokens[:count])
        capacity = -count


def _guard(pieces: Sequence[bytes]) -> bytes:
    """Return a control character that is a token and begins no other: it is split off safely."""
    for byte in range(1, 32):
        guard = bytes([byte])
        longer = (guard, b" " + guard)
        if guard in pieces and not any(p.startswith(longer) and p not in longer for p in pieces):
            return guard
    raise ValueError("no control character stands alone in its vocabulary")


def _read_pieces(model: LlamaModel, ends: frozenset[int]) -> Iterator[bytes]:
    """Yield the bytes of every token, marked if it is not text.

    Ends are marked whatever their type: inside of a string they would end the answer too early.
    Tokens that the model's authors defined, such as "<b>", are text for the tokenizer and for
    readers.
    """
    buffer = ctypes.create_string_buffer(_LONGEST_PIECE)
    view = memoryview(buffer)
    for token in range(model.n_vocab):
        length = llama.llama_token_to_piece(model.vocab, token, buffer, _LONGEST_PIECE, 0, True)
        piece = bytes(view[: max(length, 0)])
        is_text = token not in ends and not llama.llama_vocab_is_control(model.vocab, token)
        yield piece if is_text else SPECIAL + piece
