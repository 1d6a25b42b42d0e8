"""Pictures and sounds in prompts, encoded by llama.cpp's libmtmd.

A projector (mmproj GGUF) makes embeddings that the language model takes in place of tokens. Runner
process only.
"""

from __future__ import annotations

import ctypes
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import llama_cpp.llama_cpp as llama
import llama_cpp.mtmd_cpp as mtmd
import numpy as np
from numpy.typing import NDArray

from ..errors import OllamaError
from ..layout.c_files import as_path
from ..layout.errors import LayoutError
from ..layout.virtual_file import VirtualFile
from ..prompt.control_marks import PromptPart
from .attachment import Attachment
from .input_parts import input_parts, new_bitmap
from .llama_model import LlamaModel, LoadError
from .low_priority import lower_thread_priority
from .media import Chunk, Key, Media, MediaChunk, parts_of
from .sound import Sound

STORED_BYTES = 256 * 2**20
"""Embeddings cached for the next prompt with the same attachment. One takes 1 to 60 MB."""

LONGEST_PART = 4096
"""The most tokens of a sound that are encoded at once. Most projectors cut sounds into windows of
30 seconds; others compare each token with every other, so their memory grows with the square."""

Prompt = str | Sequence[PromptPart]
"""A prompt that is markup as a whole, or its pieces."""


class Vision:
    """A projector of a language model; ``sees`` images if it encodes them, ``hears`` sounds.

    Any thread may call its methods; one attachment is encoded at a time.
    """

    def __init__(
        self,
        file: str | VirtualFile,
        model: LlamaModel,
        *,
        threads: int,
        batch: int,
        use_gpu: bool = False,
        stored_bytes: int = STORED_BYTES,
    ) -> None:
        """Load a projector for ``model``, whose context has ``batch`` tokens in a graph.

        ``file`` is a path, or a part of the model file. Raises LoadError.
        """
        # The batch loop's threads, which compute at the same time, have priority.
        self._worker = ThreadPoolExecutor(1, "encode", initializer=lower_thread_priority)
        params = mtmd.mtmd_context_params_default()
        params.use_gpu = use_gpu
        params.n_threads = threads
        params.print_timings = False
        with _projector_path(file) as path:
            self._pointer = mtmd.mtmd_init_from_file(path.encode(), model.pointer, params)
        if not self._pointer:
            raise LoadError(f"unable to load projector: {path}")
        self.sees: bool = mtmd.mtmd_support_vision(self._pointer)
        self.hears: bool = mtmd.mtmd_support_audio(self._pointer)
        if not self.sees and not self.hears:
            self.close()
            raise LoadError(f"projector for neither images nor sounds: {path}")
        self._n_embd: int = llama.llama_model_n_embd_inp(model.pointer)
        self._uses_mrope: bool = mtmd.mtmd_decode_use_mrope(self._pointer)
        self._batch = batch
        self._lock = threading.Lock()
        self._stored: OrderedDict[tuple[int, Key], NDArray[np.float32]] = OrderedDict()
        self._stored_bytes = stored_bytes

    def close(self) -> None:
        """Free all memory; nothing may be called after this."""
        self._worker.shutdown()
        mtmd.mtmd_free(self._pointer)

    def count(self, prompt: Prompt, attachments: Sequence[Attachment]) -> int:
        """Return how many cells of the KV cache a prompt takes, without encoding anything."""
        with self._cut(prompt, attachments) as parts:
            return sum(part.n_tokens for part in parts)

    def chunks(
        self,
        prompt: Prompt,
        attachments: Sequence[Attachment],
        *,
        special: bool = True,
        account: int = 0,
    ) -> list[Chunk]:
        """Cut a prompt with an ``[img-N]`` for each attachment into tokens and embeddings.

        The tokens include those that the model requires around attachments, and with ``special``
        those around a text (BOS, EOS). Embeddings are cached by ``account``: another account that
        sends the same attachment waits as long as for a new one. Raises OllamaError: 400 for an
        attachment that is broken or has no marker, 500 if the projector fails.
        """
        with self._lock, self._cut(prompt, attachments, special=special) as parts:
            try:
                missing = [
                    p.key[0] for p in parts if p.key and (account, p.key) not in self._stored
                ]
                for digest in dict.fromkeys(missing):
                    self._encode_attachment(digest, prompt, attachments, account)
                return [self._chunk(part, account) for part in parts]
            finally:
                while sum(rows.nbytes for rows in self._stored.values()) > self._stored_bytes:
                    self._stored.popitem(last=False)

    def _encode_attachment(
        self, digest: str, prompt: Prompt, attachments: Sequence[Attachment], account: int
    ) -> None:
        """Cache the embeddings of one attachment: the pixels of many would take gigabytes.

        A picture is cut with all of the text, since some projectors align it to the text before it.
        A sound is cut alone, or the spectrum of each would be computed again for every other.
        """
        sounds = [one for one in attachments if isinstance(one, Sound) and one.digest == digest]
        if sounds:
            prompt, attachments = "[img-0]", sounds[:1]
        with self._cut(prompt, attachments, decoded=digest) as parts:
            for part in parts:
                if part.key and part.key[0] == digest and (account, part.key) not in self._stored:
                    self._stored[account, part.key] = self._encode(part)

    def _chunk(self, part: MediaChunk, account: int) -> Chunk:
        if part.key is None:
            return part.tokens
        self._stored.move_to_end((account, part.key))
        first = part.positions(0, self._uses_mrope)
        return Media(
            digest=hashlib.sha256(repr(part.key).encode()).hexdigest(),
            embeddings=self._stored[account, part.key],
            n_pos=part.n_pos,
            non_causal=self._is_whole(part),
            first_positions=first,
            # Not all rows of M-RoPE begin at the position of the image.
            moving=part.positions(1, self._uses_mrope) - first,
        )

    def _is_whole(self, part: MediaChunk) -> bool:
        return bool(mtmd.mtmd_decode_use_non_causal(self._pointer, part.pointer))

    def _encode(self, part: MediaChunk) -> NDArray[np.float32]:
        if self._is_whole(part) and part.n_tokens > self._batch:
            # Decoding it, llama.cpp would abort the process.
            raise OllamaError(
                400, f"the image takes {part.n_tokens} tokens at once, num_batch is {self._batch}"
            )
        if part.is_sound and part.n_tokens > LONGEST_PART:
            raise OllamaError(
                400,
                f"the sound takes {part.n_tokens} tokens at once, "
                f"this model's projector can take {LONGEST_PART}",
            )
        if self._worker.submit(mtmd.mtmd_encode_chunk, self._pointer, part.pointer).result():
            raise OllamaError(
                500, f"the projector could not encode the {'sound' if part.is_sound else 'image'}"
            )
        pointer = mtmd.mtmd_get_output_embd(self._pointer)
        rows = np.ctypeslib.as_array(pointer, (part.n_tokens, self._n_embd)).copy()
        rows.flags.writeable = False
        return rows

    @contextmanager
    def _cut(
        self,
        prompt: Prompt,
        attachments: Sequence[Attachment],
        *,
        special: bool = True,
        decoded: str = "",
    ) -> Iterator[list[MediaChunk]]:
        """Let libmtmd cut a prompt; the parts live as long as the block.

        Only the attachment whose digest is ``decoded`` has pixels or samples, the others a size.
        """
        with ExitStack() as stack:
            bitmaps = []
            for number, one in enumerate(attachments):
                name = f"{number}:{one.digest}"
                if isinstance(one, Sound):
                    self._worker.submit(one.samples, self._pointer).result()
                bitmap = new_bitmap(self._pointer, one, name, decoded=one.digest == decoded)
                stack.callback(mtmd.mtmd_bitmap_free, bitmap)
                bitmaps.append(bitmap)
            pieces = [PromptPart(prompt, True)] if isinstance(prompt, str) else prompt
            parts = input_parts(pieces, bitmaps)
            chunks = mtmd.mtmd_input_chunks_init()
            stack.callback(mtmd.mtmd_input_chunks_free, chunks)
            array = (ctypes.POINTER(mtmd.mtmd_input_part) * len(parts))()
            array[:] = [ctypes.pointer(part) for part in parts]
            # No text is searched for a marker of libmtmd's own, which a user could have written.
            if mtmd.mtmd_tokenize_from_parts(self._pointer, chunks, array, len(parts), special):
                what = "a sound" if any(isinstance(a, Sound) for a in attachments) else "an image"
                raise OllamaError(400, f"the model cannot take {what} of this size and shape")
            yield list(parts_of(chunks))


@contextmanager
def _projector_path(file: str | VirtualFile) -> Iterator[str]:
    """Yield a path that libmtmd can open. Raises LoadError if a view cannot be read."""
    if isinstance(file, str):
        yield file
        return
    try:
        with as_path(file) as path:
            yield str(path)
    except (LayoutError, OSError) as error:
        raise LoadError(f"unable to load projector: {error}") from error
