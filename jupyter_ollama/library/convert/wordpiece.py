"""The vocabulary of a WordPiece tokenizer."""

from __future__ import annotations

from pathlib import Path

import gguf

from ..regular_file import read_regular
from .model_folder import ConversionError, read_json, read_optional

_SPECIAL = ("[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]")


def add_wordpiece(writer: gguf.GGUFWriter, folder: Path, rows: int) -> None:
    """Write the vocabulary for that many embeddings. Raises ConversionError."""
    tokens = _read(folder)
    if len(tokens) > rows:
        raise ConversionError(f"{len(tokens)} tokens, but only {rows} embeddings")
    kinds = gguf.TokenType
    types = [kinds.CONTROL if token in _SPECIAL else kinds.NORMAL for token in tokens]
    padding = [f"[PAD{number}]" for number in range(len(tokens), rows)]
    types += [kinds.UNUSED] * len(padding)
    writer.add_tokenizer_model("bert")
    writer.add_token_list([_with_space(token) for token in tokens] + padding)
    writer.add_token_types(types)
    for token, add in (
        ("[CLS]", writer.add_bos_token_id),
        ("[SEP]", writer.add_sep_token_id),
        ("[PAD]", writer.add_pad_token_id),
        ("[UNK]", writer.add_unk_token_id),
        ("[MASK]", writer.add_mask_token_id),
    ):
        if token not in tokens:
            raise ConversionError(f"the vocabulary has no {token}")
        add(tokens.index(token))


def _read(folder: Path) -> list[str]:
    """Return the tokens by id, from vocab.txt or tokenizer.json.

    Case-sensitive vocabularies are refused: llama.cpp lowercases all text for WordPiece.
    """
    if read_optional(folder / "tokenizer_config.json").get("do_lower_case") is False:
        raise ConversionError("cased BERT vocabularies are not supported")
    plain = folder / "vocab.txt"
    if plain.exists():
        return read_regular(plain).decode().rstrip("\n").split("\n")
    tokenizer = read_json(folder / "tokenizer.json")
    model = tokenizer.get("model", {})
    if model.get("type", "WordPiece") != "WordPiece" or "vocab" not in model:
        raise ConversionError("tokenizer.json is not of the WordPiece kind")
    if (tokenizer.get("normalizer") or {}).get("lowercase") is False:
        raise ConversionError("cased BERT vocabularies are not supported")
    ids = dict(model["vocab"])
    ids |= {token["content"]: token["id"] for token in tokenizer.get("added_tokens") or ()}
    by_id = {number: token for token, number in ids.items()}
    if sorted(by_id) != list(range(len(by_id))):
        raise ConversionError("tokenizer.json leaves out some token ids")
    return [by_id[number] for number in range(len(by_id))]


def _with_space(token: str) -> str:
    """llama.cpp marks the start of a word, WordPiece its continuation."""
    if token.startswith("[") and token.endswith("]"):
        return token
    return token[2:] if token.startswith("##") else f"\u2581{token}"
