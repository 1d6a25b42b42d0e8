"""How a byte-level tokenizer splits text into words, as the name that llama.cpp uses."""

from __future__ import annotations

import re
from typing import Any

from .model_folder import ConversionError

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_ENDING = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_CASED_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def _cased(ending: str, digits: str) -> str:
    start = r"[^\r\n\p{L}\p{N}]?"
    words = f"{start}{_UPPER}*{_LOWER}+{ending}|{start}{_UPPER}+{_LOWER}*{ending}"
    return f"{words}|{digits}{_CASED_REST}"


_KEEPING = (("Isolated", False), ("Removed", True))
"""Split behaviours that keep the matches of the expression as words."""

_GPT2 = "<gpt-2>"  # the default expression of a byte-level step
_DIGITS = "<digits>"

_NAMES: dict[tuple[str, ...], str] = {
    (_GPT2,): "gpt-2",
    (_DIGITS, _GPT2): "smollm",
    (r"\p{N}", _GPT2): "smollm",
    (_WORDS + r"\p{N}{1,3}" + _REST,): "dbrx",
    (_WORDS + r"\p{N}" + _REST,): "qwen2",
    (_cased("", r"\p{N}"),): "tekken",
    (_cased(_ENDING, r"\p{N}{1,3}"),): "gpt-4o",
    (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", _DIGITS): "deepseek-coder",
}
"""The expressions that split the text in sequence, as in tokenizer.json."""


def pre_tokenizer(tokenizer: dict[str, Any]) -> str:
    """Return the name of the way in which a tokenizer splits text. Raises ConversionError.

    Unknown ways are refused, because llama.cpp would split differently than in training.
    """
    found = tokenizer.get("pre_tokenizer") or {}
    steps = found.get("pretokenizers", [found])
    splits = tuple(filter(None, (_split(step) for step in steps)))
    name = _NAMES.get(splits)
    if name is None:
        raise ConversionError(f"unsupported pre-tokenizer {' then '.join(splits) or '(none)'}")
    if name == "dbrx" and tokenizer["model"].get("ignore_merges"):
        return "llama-bpe"  # the same words, but words in the vocabulary become one token
    return name


def _split(step: dict[str, Any]) -> str:
    kind = step.get("type")
    if kind == "ByteLevel":
        if step.get("add_prefix_space"):
            raise ConversionError("unsupported pre-tokenizer with a space before the text")
        return _GPT2 if step.get("use_regex", True) else ""
    if kind == "Digits" and step.get("individual_digits"):
        return _DIGITS
    pattern = (step.get("pattern") or {}).get("Regex")
    keeps = (step.get("behavior"), bool(step.get("invert"))) in _KEEPING
    if kind == "Split" and pattern and keeps:
        return re.sub(r"[\r\n]", lambda found: repr(found[0])[1:-1], pattern)
    raise ConversionError(f"unsupported pre-tokenizer {kind}")
