"""The plainest decoding of a prompt with images: one sequence, batch after batch.

The rules of a batch loop for images:

- llama.cpp takes tokens or embeddings in a batch, never both, so an image is decoded in batches of
  its own. They may be as small as one likes, and hold images of other sequences as well, unless it
  is non-causal.
- A non-causal image needs causal attention switched off, which is for the whole batch: it comes
  alone and whole, so n_ubatch must be at least its n_tokens.
- It takes n_tokens cells of the KV cache, but the next token is n_pos positions behind its begin.
- With M-RoPE a batch of embeddings has four positions for each: all of the first row, then all of
  the second. A batch of tokens has one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from jupyter_ollama.engine.llama_context import LlamaContext
from jupyter_ollama.engine.media import Chunk, Media


def decode_chunks(
    context: LlamaContext,
    chunks: Sequence[Chunk],
    *,
    batch: int,
    sequence: int = 0,
    position: int = 0,
) -> NDArray[np.float32]:
    """Decode a prompt, at most ``batch`` a call, and return the logits of its last token.

    It goes on at ``position``. A prompt that ends with an image gets those before it.
    """
    logits = np.zeros(0, np.float32)
    for chunk in chunks:
        if isinstance(chunk, Media):
            decode_media(context, [(chunk, position, sequence)], batch=batch)
            position += chunk.n_pos
            continue
        for start in range(0, len(chunk), batch):
            tokens = np.array(chunk[start : start + batch], np.int32)
            positions = np.arange(position, position + len(tokens), dtype=np.int32)
            _decode(context, positions, [sequence] * len(tokens), tokens=tokens)
            position += len(tokens)
        logits = context.logits(-1).copy()
    return logits


def decode_media(
    context: LlamaContext, images: Sequence[tuple[Media, int, int]], *, batch: int
) -> None:
    """Decode images, each with the position where it begins and its sequence.

    As many of their rows as ``batch`` holds go into a call, of any sequence.
    """
    if any(media.non_causal for media, _, _ in images):
        llama.llama_set_causal_attn(context.pointer, False)
        for media, position, sequence in images:
            positions = media.positions(position).ravel()
            _decode(context, positions, [sequence] * media.n_tokens, embeddings=media.embeddings)
        llama.llama_set_causal_attn(context.pointer, True)
        return
    positions = np.concatenate([media.positions(position) for media, position, _ in images], axis=1)
    embeddings = np.concatenate([media.embeddings for media, _, _ in images])
    sequences = [sequence for media, _, sequence in images for _ in range(media.n_tokens)]
    for start in range(0, len(embeddings), batch):
        part = slice(start, start + batch)
        _decode(context, positions[:, part].ravel(), sequences[part], embeddings=embeddings[part])


def _decode(
    context: LlamaContext,
    positions: NDArray[np.int32],
    sequence_ids: Sequence[int],
    *,
    tokens: NDArray[np.int32] | None = None,
    embeddings: NDArray[np.float32] | None = None,
) -> None:
    """Run one batch; of tokens the last one gets logits."""
    count = len(embeddings if tokens is None else tokens)
    sequences = np.array(sequence_ids, np.int32)
    pointers = sequences.ctypes.data + sequences.itemsize * np.arange(count, dtype=np.uintp)
    outputs = np.zeros(count, np.int8)
    outputs[-1] = tokens is not None
    # llama.cpp reads the arrays, which have to live until it is done.
    counts = np.ones(count, np.int32)
    fields = [
        _pointer(tokens, llama.llama_token),
        _pointer(embeddings, ctypes.c_float),
        _pointer(positions, llama.llama_pos),
        _pointer(counts, ctypes.c_int32),
        _pointer(pointers, ctypes.POINTER(llama.llama_seq_id)),
        _pointer(outputs, ctypes.c_int8),
    ]
    assert llama.llama_decode(context.pointer, llama.llama_batch(count, *fields)) == 0


def _pointer(array: NDArray[Any] | None, kind: Any) -> Any:
    return None if array is None else array.ctypes.data_as(ctypes.POINTER(kind))
