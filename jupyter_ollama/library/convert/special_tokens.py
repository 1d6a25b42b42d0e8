"""Special tokens, when they are added to a text, and the chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf

from ..regular_file import read_regular
from .model_folder import Config, ConversionError, read_optional
from .vocabulary import Vocabulary

_ROLES = ("bos", "eos", "unk", "sep", "pad", "mask")


def add_special_tokens(writer: gguf.GGUFWriter, folder: Path, vocabulary: Vocabulary) -> None:
    """Write the settings of the tokenizer and the model. Raises ConversionError."""
    settings = read_optional(folder / "tokenizer_config.json")
    configs: list[Any] = [read_optional(folder / "generation_config.json"), Config.read(folder)]
    ids = {text: number for number, text in enumerate(vocabulary.tokens)}
    found = {}
    for role in _ROLES:
        given = [config.get(f"{role}_token_id") for config in configs]
        found[role] = _ids(ids.get(_text(settings.get(f"{role}_token"))), given, len(ids))
    for role, numbers in found.items():
        if numbers:
            getattr(writer, f"add_{role}_token_id")(numbers[0])
    _add_ends(writer, found["eos"])
    texts = {role: {vocabulary.tokens[number] for number in found[role]} for role in _ROLES}
    for role, added in _added(folder, settings, texts, vocabulary.model == "llama").items():
        getattr(writer, f"add_add_{role}_token")(added)
    if template := _chat_template(folder, settings):
        writer.add_chat_template(template)


def _ids(own: int | None, given: list[Any], count: int) -> list[int]:
    """The tokens of the tokenizer, then those of the model's settings: numbers or lists of them."""
    numbers = [own]
    for item in given:
        numbers += item if isinstance(item, list) else [item]
    valid = (number for number in numbers if isinstance(number, int) and 0 <= number < count)
    return list(dict.fromkeys(valid))


def _text(token: Any) -> str:
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""


def _add_ends(writer: gguf.GGUFWriter, ends: list[int]) -> None:
    """llama.cpp has three keys for tokens that end an answer, Ollama a list."""
    if len(ends) > 1:
        writer.add_array("tokenizer.ggml.eos_token_ids", ends)
    places = (writer.add_eot_token_id, writer.add_eom_token_id)
    for number, add in zip(ends[1:], places, strict=False):
        add(number)


def _added(
    folder: Path, settings: dict[str, Any], texts: dict[str, set[str]], by_default: bool
) -> dict[str, bool]:
    tokenizer = read_optional(folder / "tokenizer.json")
    around = _template(tokenizer)
    added = {"bos": by_default and not tokenizer, "eos": False}
    for role, token in zip(added, around, strict=False):
        added[role] = token in texts[role]
    for role in added:
        said = settings.get(f"add_{role}_token")
        added[role] = said if isinstance(said, bool) else added[role]
    return added


def _template(tokenizer: dict[str, Any]) -> list[str | None]:
    """The special tokens that a tokenizer puts before and after a text."""
    found = tokenizer.get("post_processor") or {}
    for step in found.get("processors") or [found]:
        if step.get("type") == "TemplateProcessing":
            tokens = [(item.get("SpecialToken") or {}).get("id") for item in step["single"]]
            return [tokens[0], tokens[-1]]
    return []


def _chat_template(folder: Path, settings: dict[str, Any]) -> str | list[dict[str, str]] | None:
    plain = folder / "chat_template.jinja"
    if plain.exists():
        return read_regular(plain).decode()
    found = settings.get("chat_template")
    found = found or read_optional(folder / "chat_template.json").get("chat_template")
    if found is None or isinstance(found, str):
        return found
    if isinstance(found, list) and all({"name", "template"} <= item.keys() for item in found):
        return found
    raise ConversionError("tokenizer_config.json has a faulty chat_template")
