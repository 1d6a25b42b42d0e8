"""The tokens of a model that generates text, read from the files of its tokenizer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gguf

from .model_folder import ConversionError, read_json, read_optional
from .pre_tokenizer import pre_tokenizer
from .sentencepiece import VocabularyPiece, first_space, read_merges, read_model

_Type = gguf.TokenType
_SPACE = "\u2581"
_ABSENT_SCORE = -10000.0
_ADDED_SCORE = -1000.0
_ENCODED_SPACE = chr(ord(" ") + 256)


class Added(NamedTuple):
    """A token added to the learned vocabulary. ``special`` tokens are control tokens."""

    token: str
    special: bool


@dataclass
class Vocabulary:
    """Tokens by id, and the data that llama.cpp needs to tokenize a text."""

    model: str
    pre: str
    tokens: list[str]
    types: list[int]
    scores: list[float] | None = None
    merges: list[str] | None = None
    first_space: bool | None = None

    def fit(self, rows: int) -> None:
        """Give each embedding a token, and drop tokens without an embedding."""
        if len(self.tokens) > rows and _Type.NORMAL in self.types[rows:]:
            raise ConversionError(f"{len(self.tokens)} tokens, but only {rows} embeddings")
        del self.tokens[rows:], self.types[rows:]
        missing = range(len(self.tokens), rows)
        self.tokens += [f"[PAD{number}]" for number in missing]
        self.types += [_Type.UNUSED] * len(missing)
        if self.scores is not None:
            self.scores = [*self.scores[:rows], *[_ABSENT_SCORE] * len(missing)]

    def write(self, writer: gguf.GGUFWriter) -> None:
        """Write the tokens into the metadata."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if self.scores is not None:
            writer.add_token_scores(self.scores)
        if self.merges is not None:
            writer.add_token_merges(self.merges)
        if self.first_space is not None:
            writer.add_add_space_prefix(self.first_space)


def read_vocabulary(folder: Path) -> Vocabulary:
    """Read tokenizer.json, or else tokenizer.model. Raises ConversionError."""
    tokenizer = read_optional(folder / "tokenizer.json")
    pieces = folder / "tokenizer.model"
    added = dict(_added(folder, tokenizer))
    if not tokenizer and pieces.exists():
        return _of_pieces(*read_model(pieces), added)
    model = tokenizer.get("model") or read_json(folder / "tokenizer.json")["model"]
    if model.get("type", "BPE") != "BPE" or not isinstance(model.get("vocab"), dict):
        raise ConversionError(f'unsupported tokenizer "{model.get("type")}"')
    if not model.get("byte_fallback"):
        return _byte_level(tokenizer, model, added)
    if pieces.exists():
        found, _ = read_model(pieces)
    else:
        found = read_merges(model["vocab"], _merges(model), model.get("unk_token"))
    return _of_pieces(found, first_space(tokenizer), added)


def _added(folder: Path, tokenizer: dict[str, Any]) -> Iterator[tuple[int, Added]]:
    for token, number in read_optional(folder / "added_tokens.json").items():
        yield number, Added(token, special=False)
    settings = read_optional(folder / "tokenizer_config.json")
    for key, about in (settings.get("added_tokens_decoder") or {}).items():
        yield int(key), Added(about["content"], bool(about.get("special")))
    for about in tokenizer.get("added_tokens") or ():
        yield about["id"], Added(about["content"], bool(about.get("special")))


def _merges(model: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = (
        pair.split(" ", 1) if isinstance(pair, str) else pair for pair in model.get("merges") or ()
    )
    return [(first, second) for first, second in pairs]


def _byte_level(
    tokenizer: dict[str, Any], model: dict[str, Any], added: dict[int, Added]
) -> Vocabulary:
    normalizer = (tokenizer.get("normalizer") or {}).get("type")
    if normalizer not in (None, "NFC"):
        raise ConversionError(f'unsupported normalizer "{normalizer}"')
    by_id = {number: token for token, number in model["vocab"].items()}
    by_id |= {number: about.token for number, about in added.items()}
    tokens, types = [], []
    for number in range(max(by_id, default=-1) + 1):
        tokens.append(by_id.get(number, f"[PAD{number}]"))
        kind = _Type.NORMAL if number in by_id else _Type.UNUSED
        types.append(_kind(added[number]) if number in added else kind)
    merges = [
        " ".join(part.replace(" ", _ENCODED_SPACE) for part in pair) for pair in _merges(model)
    ]
    return Vocabulary("gpt2", pre_tokenizer(tokenizer), tokens, types, merges=merges)


def _of_pieces(pieces: list[VocabularyPiece], space: bool, added: dict[int, Added]) -> Vocabulary:
    pieces = list(pieces)
    for number, about in sorted(added.items()):
        missing = range(len(pieces), number + 1)
        pieces += [
            VocabularyPiece(f"[PAD{unused}]", _ABSENT_SCORE, _Type.UNUSED) for unused in missing
        ]
        kind = _kind(about)
        # Text has spaces where pieces have marks, except in these tokens.
        token = about.token if kind == _Type.CONTROL else about.token.replace(_SPACE, " ")
        if pieces[number].type != _Type.UNKNOWN:
            pieces[number] = VocabularyPiece(token, _ADDED_SCORE, kind)
    return Vocabulary(
        model="llama",
        pre="default",
        tokens=[piece.text for piece in pieces],
        types=[piece.type for piece in pieces],
        scores=[piece.score for piece in pieces],
        first_space=space,
    )


def _kind(added: Added) -> int:
    """Detect control tokens that the tokenizer does not mark as special."""
    token = added.token
    framed = (token.startswith("<|") and token.endswith("|>")) or (
        token.startswith("<unused") and token.endswith(">")
    )
    special = added.special or framed or token in ("<pad>", "<mask>", "<2mass>", "[@BOS@]")
    return int(_Type.CONTROL if special else _Type.USER_DEFINED)
