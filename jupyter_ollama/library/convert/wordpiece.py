"""Reading the vocabulary of a WordPiece tokenizer."""

from __future__ import annotations

from pathlib import Path

from .model_folder import ConversionError, read_json


def read_vocabulary(folder: Path) -> list[str]:
    """Return the tokens by id, from vocab.txt or tokenizer.json. Raises ConversionError.

    Vocabularies that tell upper from lower case are refused: llama.cpp lowers all text for them.
    """
    settings = folder / "tokenizer_config.json"
    if settings.exists() and read_json(settings).get("do_lower_case") is False:
        raise ConversionError("cased BERT vocabularies are not supported")
    plain = folder / "vocab.txt"
    if plain.exists():
        return plain.read_text(encoding="utf-8").rstrip("\n").split("\n")
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
