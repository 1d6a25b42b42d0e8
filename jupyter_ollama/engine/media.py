"""Embeddings of pictures and sounds, and the parts of a prompt that libmtmd makes them of."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import llama_cpp.mtmd_cpp as mtmd
import numpy as np
from numpy.typing import NDArray

Key = tuple[str, int, int]
"""The digest of an attachment, the index of a part of it, and the tokens of that part."""


@dataclass(frozen=True, slots=True, eq=False)
class Media:
    """A picture, a slice of one, or a part of a sound, as a language model reads it.

    ``embeddings`` (n_tokens, n_embd) float32 replace tokens and take ``n_tokens`` cells of the KV
    cache. The next token is ``n_pos`` positions after the first one. With ``non_causal`` all rows
    must be decoded at once and alone, with causal attention off.
    """

    digest: str
    embeddings: NDArray[np.float32]
    n_pos: int
    non_causal: bool
    first_positions: NDArray[np.int32]
    moving: NDArray[np.int32]

    @property
    def n_tokens(self) -> int:
        """Cells it takes in the KV cache."""
        return len(self.embeddings)

    @property
    def token(self) -> int:
        """A negative number that replaces each of its tokens where prompts are compared.

        It is derived from the digest, so only equal content at an equal index is an equal prefix.
        """
        return -1 - int(self.digest[:32], 16)

    def positions(self, start: int) -> NDArray[np.int32]:
        """Return the values of llama_batch.pos for media that begin at position ``start``.

        One row of n_tokens, or four with M-RoPE (time, y, x, and one more). For a part of the media
        llama.cpp takes its columns, flattened row by row.
        """
        return self.first_positions + start * self.moving


Chunk = list[int] | Media
"""A part of a prompt: token ids, or a picture or sound."""


class MediaChunk:
    """A chunk of libmtmd: text, or part ``index`` of the picture or sound ``name``."""

    def __init__(self, pointer: Any, name: str, index: int) -> None:
        self.pointer = pointer
        self.n_tokens: int = mtmd.mtmd_input_chunk_get_n_tokens(pointer)
        self.n_pos: int = mtmd.mtmd_input_chunk_get_n_pos(pointer)
        chunk_type = mtmd.mtmd_input_chunk_get_type(pointer)
        self.is_sound: bool = chunk_type == mtmd.MTMD_INPUT_CHUNK_TYPE_AUDIO
        self.key: Key | None = (name.partition(":")[2], index, self.n_tokens) if name else None

    @cached_property
    def tokens(self) -> list[int]:
        """The token ids of a text."""
        count = ctypes.c_size_t()
        tokens = mtmd.mtmd_input_chunk_get_tokens_text(self.pointer, ctypes.byref(count))
        return list(tokens[: count.value])

    def positions(self, start: int, uses_mrope: bool) -> NDArray[np.int32]:
        """Return the positions of a picture or sound at ``start``: (1 or 4, n_tokens)."""
        if not uses_mrope or self.is_sound:
            along = start + np.arange(self.n_tokens, dtype=np.int32)
            return np.tile(along, (4 if uses_mrope else 1, 1))
        image = mtmd.mtmd_input_chunk_get_tokens_image(self.pointer)
        found = (mtmd.mtmd_decoder_pos * self.n_tokens)()
        mtmd.mtmd_helper_image_get_decoder_pos(image, start, found)
        txyz = np.ctypeslib.as_array(found).view(np.uint32).reshape(-1, 4).astype(np.int32)
        # llama.cpp takes rows before columns.
        return np.ascontiguousarray(txyz.T[[0, 2, 1, 3]])


def parts_of(chunks: Any) -> Iterator[MediaChunk]:
    """Wrap the chunks and count the parts of each attachment; text may lie between them."""
    last, index = "", 0
    for number in range(mtmd.mtmd_input_chunks_size(chunks)):
        pointer = mtmd.mtmd_input_chunks_get(chunks, number)
        name = (mtmd.mtmd_input_chunk_get_id(pointer) or b"").decode()
        if name:
            index = index + 1 if name == last else 0
            last = name
        yield MediaChunk(pointer, name, index)
