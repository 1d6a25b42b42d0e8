"""The vocabulary of a SentencePiece tokenizer, from tokenizer.model or from tokenizer.json.

tokenizer.model is a small message of Protocol Buffers; only a few of its fields are needed.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gguf import TokenType

from ..regular_file import read_regular
from .model_folder import ConversionError

_PIECE, _TRAINING, _NORMALIZING = 1, 2, 3
_TEXT, _SCORE, _TYPE = 1, 2, 3
_MODEL_TYPE, _BPE = 3, 2
_FIRST_SPACE = 3
_WIDTHS = {1: 8, 5: 4}
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


class VocabularyPiece(NamedTuple):
    """A token. The pair whose merged piece has the highest score is merged first."""

    text: str
    score: float
    type: int


def read_model(path: Path) -> tuple[list[VocabularyPiece], bool]:
    """Return the pieces, and whether a text begins with a space. Raises ConversionError."""
    pieces: list[VocabularyPiece] = []
    space = True
    try:
        for field, value in _fields(read_regular(path)):
            if field == _PIECE:
                about = dict(_fields(value))
                text, kind = about[_TEXT].decode(), about.get(_TYPE, TokenType.NORMAL)
                (score,) = struct.unpack("<f", about.get(_SCORE, bytes(4)))
                pieces.append(VocabularyPiece(text, score, kind))
            elif field == _TRAINING and dict(_fields(value)).get(_MODEL_TYPE, 1) != _BPE:
                raise ConversionError("tokenizer.model is not of the BPE kind")
            elif field == _NORMALIZING:
                space = bool(dict(_fields(value)).get(_FIRST_SPACE, True))
    except (KeyError, IndexError, TypeError, AttributeError, struct.error, UnicodeDecodeError):
        raise ConversionError("tokenizer.model is not a SentencePiece model") from None
    if not pieces:
        raise ConversionError("tokenizer.model is not a SentencePiece model")
    return pieces, space


def read_merges(
    vocabulary: dict[str, int], merges: list[tuple[str, str]], unknown: str | None
) -> list[VocabularyPiece]:
    """Return the pieces of a vocabulary; the earlier a merge, the higher the score."""
    scores: dict[str, float] = {}
    for rank, pair in enumerate(merges):
        scores.setdefault("".join(pair), -float(rank))
    lowest = -float(len(merges))
    by_id = {number: text for text, number in vocabulary.items()}
    if sorted(by_id) != list(range(len(by_id))):
        raise ConversionError("tokenizer.json leaves out some token ids")
    return [
        VocabularyPiece(
            by_id[number], scores.get(by_id[number], lowest), _type(by_id[number], unknown)
        )
        for number in range(len(by_id))
    ]


def first_space(tokenizer: dict[str, Any]) -> bool:
    """Whether the steps of a tokenizer.json put a space before a text."""
    for key in ("normalizer", "pre_tokenizer"):
        found = tokenizer.get(key) or {}
        for step in found.get("normalizers") or found.get("pretokenizers") or [found]:
            if step.get("type") == "Prepend":
                return True
            if step.get("type") == "Metaspace":
                scheme = step.get("prepend_scheme")
                return scheme != "never" if scheme else bool(step.get("add_prefix_space", True))
    return False


def _type(text: str, unknown: str | None) -> int:
    if text == unknown:
        return int(TokenType.UNKNOWN)
    return int(TokenType.BYTE if _BYTE.fullmatch(text) else TokenType.NORMAL)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        key, at = _number(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _number(data, at)
            yield key >> 3, value
            continue
        size = _WIDTHS.get(kind, -1)
        if kind == 2:
            size, at = _number(data, at)
        if not 0 <= size <= len(data) - at:
            raise IndexError("length")
        yield key >> 3, data[at : at + size]
        at += size


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
