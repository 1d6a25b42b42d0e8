"""Converting a model: the family gives settings and weights, the folder the vocabulary."""

from __future__ import annotations

from pathlib import Path

import gguf

from .decoders import DECODERS
from .encoders import ENCODERS, add_pooling, nomic_names
from .family import Family
from .model_folder import Config, ConversionError
from .safetensors import read_folder
from .special_tokens import add_special_tokens
from .tensors import Tensor, write
from .vision import Tower
from .vocabulary import Vocabulary, read_vocabulary
from .wordpiece import add_wordpiece

_ACTIVATIONS = ("hidden_act", "hidden_activation")
_PHI3_TOKENS = {"<unk>", "<s>", "</s>", "<|endoftext|>"}


def convert(folder: Path, target: Path) -> None:
    """Write the model in ``folder`` (safetensors files, config.json, vocabulary) as one GGUF.

    Matrices become 16-bit numbers, only those of BERT 32-bit ones. Raises ConversionError.
    """
    config = Config.read(folder)
    name = config.names[0]
    family = (DECODERS | ENCODERS).get(name)
    if family is None:
        raise ConversionError(f'unsupported architecture "{name}"')
    if family.architecture == "nomic-bert":
        config = nomic_names(config)
    config = config.with_defaults(family.defaults)
    _check(family, config)
    tower = Tower.read(config) if family.sees else None
    stored = read_folder(folder)
    tensors = family.tensors(stored, config)
    writer = gguf.GGUFWriter(target, family.architecture)
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_file_type(family.file_type)
    family.describe(writer, config)
    title = config.title
    if name in ENCODERS:
        add_pooling(writer, folder)
        add_wordpiece(writer, folder, _rows(tensors))
    else:
        vocabulary = read_vocabulary(folder)
        if family.trimmed:
            tensors = _trimmed(tensors, len(vocabulary.tokens))
        vocabulary.fit(_rows(tensors))
        vocabulary.write(writer)
        writer.add_vocab_size(_rows(tensors))
        add_special_tokens(writer, folder, vocabulary)
        if family.architecture == "phi3":
            title = _phi3_title(title, vocabulary)
    if title:
        writer.add_name(title)
    if tower:
        tower.describe(writer)
        tensors += tower.tensors(stored)
    write(writer, tensors)


def _check(family: Family, config: Config) -> None:
    found = [config.get(key) for key in _ACTIVATIONS if config.get(key)]
    if any(name not in family.activations for name in found):
        raise ConversionError(f'unsupported activation "{found[0]}"')
    method = (config.get("quantization_config") or {}).get("quant_method")
    if method:
        raise ConversionError(f'unsupported quantization "{method}" of the weights')


def _rows(tensors: list[Tensor]) -> int:
    return next(tensor.shape[0] for tensor in tensors if tensor.name == "token_embd.weight")


def _trimmed(tensors: list[Tensor], rows: int) -> list[Tensor]:
    """Drop the trailing embeddings that have no token."""
    rows = min(rows, _rows(tensors))
    return [
        tensor.cut(rows) if tensor.name == "token_embd.weight" else tensor for tensor in tensors
    ]


def _phi3_title(title: str, vocabulary: Vocabulary) -> str:
    """llama.cpp recognises by this name that Phi-3's special tokens absorb following spaces."""
    known = "phi-3" in title.lower() or "phi3" in title.lower()
    if known or not _PHI3_TOKENS.issubset(vocabulary.tokens):
        return title
    return f"Phi-3 {title}".strip()
