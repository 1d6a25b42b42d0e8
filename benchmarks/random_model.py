"""Models of a real shape with random weights, for hosts that have no other model.

The speed of a model depends on its shape and its types of weights, not on what it has learnt. An
answer is a row of random words. It never ends by itself: the output rows of special tokens and of
bytes are zero, and among all words some have a positive logit.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from string import ascii_lowercase, digits, punctuation
from typing import Any

import gguf
import numpy as np
import prompts
from embeddings import WORDS
from random_weights import (
    DECODERS,
    ENCODERS,
    F32,
    Shape,
    Tensor,
    decoder_tensors,
    encoder_tensors,
)

from jupyter_ollama.engine import quantize
from jupyter_ollama.library.create import CreateRequest, create
from jupyter_ollama.library.library import Library

SEED = 8
SPACE = "\u2581"
CONTROL = ("<unk>", "<s>", "</s>")
BYTES = tuple(f"<0x{number:02X}>" for number in range(256))
WORDPIECE = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SILENT = len(CONTROL) + len(BYTES)
"""Tokens that are no text of their own; a model must not choose them."""

TEMPLATE = "{{ .System }}\n\n{{ .Prompt }}\n\n"


def decoder_words(count: int) -> list[str]:
    """Return a vocabulary: special tokens, bytes, signs, the prompts' words, then others.

    SentencePiece's way joins two pieces where the result is a piece, so that a word needs all of
    its beginnings.
    """
    texts = [prompts.RULES, *prompts.QUESTIONS, *prompts.stories("", 64), *prompts.classroom("")]
    texts += [prompts.INSTRUCTION, WORDS]
    known = dict.fromkeys([*CONTROL, *BYTES, SPACE, *digits, *punctuation])
    for word in re.findall("[A-Za-z]+", " ".join(texts)):
        known |= dict.fromkeys(word)
        known |= dict.fromkeys(SPACE + word[: end + 1] for end in range(len(word)))
    return fill(known, count, SPACE)


def fill(known: dict[str, None], count: int, prefix: str) -> list[str]:
    """Return ``count`` words: the known words first, then made-up ones of four letters."""
    assert len(known) <= count, f"the prompts need {len(known)} words"
    others = product(ascii_lowercase, repeat=4)
    while len(known) < count:
        known.setdefault(prefix + "".join(next(others)))
    return list(known)


def decoder_writer(path: Path, shape: Shape) -> gguf.GGUFWriter:
    """Return a writer of a decoder's file with all of its metadata."""
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer, shape, gguf.LlamaFileType.MOSTLY_Q4_K_M)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_rope_freq_base(500_000.0)
    writer.add_vocab_size(shape.words)
    words = decoder_words(shape.words)
    kinds = gguf.TokenType
    writer.add_tokenizer_model("llama")
    writer.add_token_list(words)
    writer.add_token_scores([float(-number) for number in range(len(words))])
    types = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL, *[kinds.BYTE] * len(BYTES)]
    writer.add_token_types([*types, *[kinds.NORMAL] * (len(words) - len(types))])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    return writer


def encoder_writer(path: Path, shape: Shape) -> gguf.GGUFWriter:
    """Return a writer of an encoder's file with all of its metadata."""
    writer = gguf.GGUFWriter(path, "bert")
    _describe(writer, shape, gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_token_type_count(2)
    words = fill(
        dict.fromkeys([*WORDPIECE, *(SPACE + word for word in WORDS.split())]), shape.words, SPACE
    )
    types = [gguf.TokenType.CONTROL] * len(WORDPIECE)
    writer.add_tokenizer_model("bert")
    writer.add_token_list(words)
    writer.add_token_types([*types, *[gguf.TokenType.NORMAL] * (len(words) - len(types))])
    writer.add_bos_token_id(2)
    writer.add_sep_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_mask_token_id(4)
    return writer


def _describe(writer: gguf.GGUFWriter, shape: Shape, kind: gguf.LlamaFileType) -> None:
    writer.add_name("random weights")
    writer.add_file_type(kind)
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.length)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.feed)
    writer.add_head_count(shape.heads)


def content(writer: gguf.GGUFWriter, tensors: list[Tensor]) -> Iterator[bytes]:
    """Yield the bytes of a file; ``writer`` has its metadata and writes no more than the header."""
    for tensor in tensors:
        shape = (tensor.width,) if tensor.rows == 1 else (tensor.rows, tensor.width)
        if tensor.kind == F32:
            writer.add_tensor_info(tensor.name, shape, np.dtype(np.float32), tensor.bytes)
        else:
            stored = (tensor.rows, tensor.row_bytes)
            byte = np.dtype(np.uint8)
            writer.add_tensor_info(tensor.name, stored, byte, tensor.bytes, tensor.kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    header = Path(writer.path).read_bytes()
    yield header + padding(len(header))
    chance = np.random.Generator(np.random.SFC64(SEED))
    for tensor in tensors:
        yield from tensor.pieces(chance)
        yield padding(tensor.bytes)


def padding(size: int) -> bytes:
    """Return the zeros that follow a part of a file of that many bytes."""
    return bytes(-size % gguf.GGUF_DEFAULT_ALIGNMENT)


def register(library: Library, name: str, shape: Shape) -> Path:
    """Make the model of a shape and put it into a library; return its file.

    Shapes of ENCODERS become encoders, others decoders.
    """
    with tempfile.TemporaryDirectory() as folder, library.store.blob_writer() as blob:
        header = Path(folder, "header.gguf")
        is_encoder = shape in ENCODERS.values()
        if is_encoder:
            pieces = content(encoder_writer(header, shape), encoder_tensors(shape))
        else:
            pieces = content(decoder_writer(header, shape), decoder_tensors(shape, SILENT))
        for piece in pieces:
            blob.write(piece)
        digest = blob.commit().digest
    body: dict[str, Any] = {"model": name, "files": {"model.gguf": digest}}
    if not is_encoder:
        body["template"] = TEMPLATE
    for _ in create(library.store, CreateRequest(**body), quantize.run):
        pass
    return library.find(name).model_path


def size(model: str) -> int:
    """Return the bytes of the weights of a decoder."""
    return sum(tensor.bytes for tensor in decoder_tensors(DECODERS[model], SILENT))
