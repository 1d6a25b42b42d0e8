"""Images in prompts: cut among the tokens and turned into embeddings by llama.cpp's libmtmd.

A projector (mmproj GGUF) makes rows of a width that the language model takes in place of tokens.
Runner process only.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import llama_cpp.llama_cpp as llama
import llama_cpp.mtmd_cpp as mtmd
import numpy as np
from numpy.typing import NDArray

from ..errors import OllamaError
from .llama_model import LlamaModel, LoadError
from .picture import Picture

MARKER = re.compile(r"\[img-([0-9]{1,6})\]")
"""Where an image belongs in a prompt; the number is its place among the request's images."""

STORED_BYTES = 256 * 2**20
"""Embeddings kept for the next prompt with the same image. One takes 1 to 60 MB."""

Key = tuple[str, int, int]
"""The digest of an image, which part of it, and the tokens of that."""


@dataclass(frozen=True, slots=True, eq=False)
class Media:
    """An image, or a slice of one, as a language model reads it.

    ``embeddings`` (n_tokens, n_embd) float32 go where tokens would, ``n_tokens`` cells of the KV
    cache. What follows is ``n_pos`` positions behind its begin. With ``non_causal`` all of it has
    to be decoded at once and alone, with causal attention off.
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
        """A negative number that stands for each of its tokens where prompts are compared.

        It is made of the digest, so only an equal image at an equal place is an equal prefix.
        """
        return -1 - int(self.digest[:32], 16)

    def positions(self, start: int) -> NDArray[np.int32]:
        """Return what llama_batch.pos takes if the image begins at position ``start``.

        One row of n_tokens, or four with M-RoPE (time, y, x, and one more). Of a part of the image
        llama.cpp takes the columns, flattened row by row.
        """
        return self.first_positions + start * self.moving


Chunk = list[int] | Media
"""A part of a prompt: token ids, or an image."""


class Vision:
    """A projector loaded beside its language model.

    All methods may be called by any thread; one image is encoded at a time.
    """

    def __init__(
        self,
        path: str,
        model: LlamaModel,
        *,
        threads: int,
        batch: int,
        use_gpu: bool = False,
        stored_bytes: int = STORED_BYTES,
    ) -> None:
        """Load a projector for ``model``, whose context has ``batch`` tokens in a graph.

        Raises LoadError.
        """
        params = mtmd.mtmd_context_params_default()
        params.use_gpu = use_gpu
        params.n_threads = threads
        params.print_timings = False
        self._pointer = mtmd.mtmd_init_from_file(path.encode(), model.pointer, params)
        if not self._pointer:
            raise LoadError(f"unable to load projector: {path}")
        if not mtmd.mtmd_support_vision(self._pointer):
            self.close()
            raise LoadError(f"projector without vision: {path}")
        self._n_embd: int = llama.llama_model_n_embd_inp(model.pointer)
        self._uses_mrope: bool = mtmd.mtmd_decode_use_mrope(self._pointer)
        self._batch = batch
        self._lock = threading.Lock()
        self._stored: OrderedDict[Key, NDArray[np.float32]] = OrderedDict()
        self._stored_bytes = stored_bytes

    def close(self) -> None:
        """Free all memory; nothing may be called after this."""
        mtmd.mtmd_free(self._pointer)

    def count(self, text: str, pictures: Sequence[Picture]) -> int:
        """Return how many cells of the KV cache a prompt takes; nothing is decoded or encoded."""
        with self._cut(text, pictures) as parts:
            return sum(part.n_tokens for part in parts)

    def chunks(
        self, text: str, pictures: Sequence[Picture], *, special: bool = True
    ) -> list[Chunk]:
        """Cut a prompt with an ``[img-N]`` for each picture into tokens and embeddings.

        The tokens that the model wants around its images are among the others, with ``special``
        also those around a text (BOS, EOS). Raises OllamaError: 400 for a picture that is broken or
        has no marker, 500 if the projector fails.
        """
        with self._lock, self._cut(text, pictures, special=special) as parts:
            try:
                missing = [p.key[0] for p in parts if p.key and p.key not in self._stored]
                for digest in dict.fromkeys(missing):
                    self._encode_picture(digest, text, pictures)
                return [self._chunk(part) for part in parts]
            finally:
                while sum(rows.nbytes for rows in self._stored.values()) > self._stored_bytes:
                    self._stored.popitem(last=False)

    def _encode_picture(self, digest: str, text: str, pictures: Sequence[Picture]) -> None:
        """Store the embeddings of one picture: pixels of many at once would take gigabytes."""
        # All of the text, since some projectors align an image to what is before it.
        with self._cut(text, pictures, decoded=digest) as parts:
            for part in parts:
                if part.key and part.key[0] == digest and part.key not in self._stored:
                    self._stored[part.key] = self._encode(part)

    def _chunk(self, part: _Part) -> Chunk:
        if part.key is None:
            return part.tokens
        self._stored.move_to_end(part.key)
        first = part.positions(0, self._uses_mrope)
        return Media(
            digest=hashlib.sha256(repr(part.key).encode()).hexdigest(),
            embeddings=self._stored[part.key],
            n_pos=part.n_pos,
            non_causal=self._is_whole(part),
            first_positions=first,
            # Not all rows of M-RoPE begin at the position of the image.
            moving=part.positions(1, self._uses_mrope) - first,
        )

    def _is_whole(self, part: _Part) -> bool:
        return bool(mtmd.mtmd_decode_use_non_causal(self._pointer, part.pointer))

    def _encode(self, part: _Part) -> NDArray[np.float32]:
        if self._is_whole(part) and part.n_tokens > self._batch:
            # Decoding it, llama.cpp would abort the process.
            raise OllamaError(
                400, f"the image takes {part.n_tokens} tokens at once, num_batch is {self._batch}"
            )
        if mtmd.mtmd_encode_chunk(self._pointer, part.pointer):
            raise OllamaError(500, "the projector could not encode the image")
        pointer = mtmd.mtmd_get_output_embd(self._pointer)
        rows = np.ctypeslib.as_array(pointer, (part.n_tokens, self._n_embd)).copy()
        rows.flags.writeable = False
        return rows

    @contextmanager
    def _cut(
        self,
        text: str,
        pictures: Sequence[Picture],
        *,
        special: bool = True,
        decoded: str = "",
    ) -> Iterator[list[_Part]]:
        """Let libmtmd cut a prompt; the parts live as long as the block.

        The picture whose digest is ``decoded`` can be encoded, the others have a size only.
        """
        with ExitStack() as stack:
            bitmaps = []
            for number, picture in enumerate(pictures):
                pixels = picture.pixels() if picture.digest == decoded else None
                bitmaps.append(_bitmap(picture, pixels, f"{number}:{picture.digest}"))
                stack.callback(mtmd.mtmd_bitmap_free, bitmaps[-1])
            parts = _input_parts(text, bitmaps)
            chunks = mtmd.mtmd_input_chunks_init()
            stack.callback(mtmd.mtmd_input_chunks_free, chunks)
            array = (ctypes.POINTER(mtmd.mtmd_input_part) * len(parts))()
            array[:] = [ctypes.pointer(part) for part in parts]
            # No text is searched for a marker of libmtmd's own, which a user could have written.
            if mtmd.mtmd_tokenize_from_parts(self._pointer, chunks, array, len(parts), special):
                raise OllamaError(400, "the model cannot take an image of this size and shape")
            yield list(_parts(chunks))


class _Part:
    """A chunk of libmtmd: text, or the ``index``-th part of the image ``name``."""

    def __init__(self, pointer: Any, name: str, index: int) -> None:
        self.pointer = pointer
        self.n_tokens: int = mtmd.mtmd_input_chunk_get_n_tokens(pointer)
        self.n_pos: int = mtmd.mtmd_input_chunk_get_n_pos(pointer)
        self.key: Key | None = (name.partition(":")[2], index, self.n_tokens) if name else None

    @cached_property
    def tokens(self) -> list[int]:
        """The token ids of a text."""
        count = ctypes.c_size_t()
        tokens = mtmd.mtmd_input_chunk_get_tokens_text(self.pointer, ctypes.byref(count))
        return list(tokens[: count.value])

    def positions(self, start: int, uses_mrope: bool) -> NDArray[np.int32]:
        """Return the positions of an image at ``start``: (1 or 4, n_tokens)."""
        if not uses_mrope:
            return start + np.arange(self.n_tokens, dtype=np.int32)[None]
        image = mtmd.mtmd_input_chunk_get_tokens_image(self.pointer)
        found = (mtmd.mtmd_decoder_pos * self.n_tokens)()
        mtmd.mtmd_helper_image_get_decoder_pos(image, start, found)
        txyz = np.ctypeslib.as_array(found).view(np.uint32).reshape(-1, 4).astype(np.int32)
        # llama.cpp wants rows before columns.
        return np.ascontiguousarray(txyz.T[[0, 2, 1, 3]])


def _parts(chunks: Any) -> Iterator[_Part]:
    """Wrap the chunks and count the slices of each image; text may lie between them."""
    last, index = "", 0
    for number in range(mtmd.mtmd_input_chunks_size(chunks)):
        pointer = mtmd.mtmd_input_chunks_get(chunks, number)
        name = (mtmd.mtmd_input_chunk_get_id(pointer) or b"").decode()
        if name:
            index = index + 1 if name == last else 0
            last = name
        yield _Part(pointer, name, index)


def _bitmap(picture: Picture, pixels: NDArray[np.uint8] | None, name: str) -> Any:
    data = None
    if pixels is not None:
        pixels = np.ascontiguousarray(pixels)
        data = pixels.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
    bitmap = mtmd.mtmd_bitmap_init(picture.width, picture.height, data)
    mtmd.mtmd_bitmap_set_id(bitmap, name.encode())
    return bitmap


def _input_parts(text: str, bitmaps: Sequence[Any]) -> list[ctypes.Structure]:
    """Split a prompt at its markers; one that comes again is text.

    Raises OllamaError(400) if they do not fit the images.
    """
    parts = []
    named = set()
    end = 0
    for marker in MARKER.finditer(text):
        number = int(marker[1])
        if number >= len(bitmaps):
            raise OllamaError(400, f"invalid image index: {number}")
        if number not in named:
            named.add(number)
            parts += _text_parts(text[end : marker.start()])
            parts.append(mtmd.mtmd_input_part(None, bitmaps[number]))
            end = marker.end()
    if len(named) < len(bitmaps):
        raise OllamaError(400, f"the prompt has markers for {len(named)} of {len(bitmaps)} images")
    return parts + _text_parts(text[end:])


def _text_parts(text: str) -> list[ctypes.Structure]:
    if not text:
        return []
    data = text.encode("utf-8", "replace")
    written = mtmd.mtmd_input_text(data, len(data), False, True)
    return [mtmd.mtmd_input_part(ctypes.pointer(written), None)]
