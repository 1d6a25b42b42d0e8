"""Tiny models that hear, a plain evaluation of prompts with sounds, and sound files for them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import llama_cpp.llama_cpp as llama
import llama_cpp.mtmd_cpp as mtmd
import numpy as np
from numpy.typing import NDArray
from plain_vision import decode_chunks
from sound_files import flac, mp3, tone, wav, wav_file

from jupyter_ollama.engine.attachment import Attachment, attachments
from jupyter_ollama.engine.events import Done, Text
from jupyter_ollama.engine.llama_context import LlamaContext
from jupyter_ollama.engine.llama_model import LlamaModel
from jupyter_ollama.engine.media import Media
from jupyter_ollama.engine.protocol import RawPrompt
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.engine.vision import Vision
from jupyter_ollama.options import Options

KINDS = [("gemma4ua", "llama"), ("qwen2a", "llama"), ("qwen2a", "qwen2vl")]
"""Projectors and language models: the last one has positions in sections."""

ONE, OTHER = wav(tone(0.7)), wav(np.tile(tone(1, 660), 10))
FILES = {
    "wav": ONE,
    "stereo": wav(tone(0.7, rate=44100), 44100, channels=2),
    "floats": wav(tone(0.7), bits=32),
    "mu-law": wav_file(bytes(range(256)) * 20, 7, 1, 8000, 8),
    "flac": flac(tone(0.7)),
    "mp3": mp3(30),
    "mp3 with a note": mp3(30, 30),
}
LONG = "abc def " * 20
COUNT = 8


class Hearing:
    """A language model with a projector that hears, and a context."""

    def __init__(self, folder: Path) -> None:
        self.model = LlamaModel(str(folder / "model.gguf"))
        self.projector = str(folder / "projector.gguf")
        self.vision = Vision(self.projector, self.model, threads=2, batch=64)
        self.context = LlamaContext(
            self.model, cells=2048, sequences=1, batch=512, ubatch=512, threads=2
        )

    @property
    def pointer(self) -> object:
        """The projector as libmtmd knows it."""
        return self.vision._pointer

    def media(self, *sounds: bytes, text: str = "[img-0]") -> list[Media]:
        chunks = self.vision.chunks(text, attachments(sounds))
        return [chunk for chunk in chunks if isinstance(chunk, Media)]

    def logits(self, text: str, files: Sequence[Attachment], batch: int) -> NDArray[np.float32]:
        self.context.forget(-1)
        return decode_chunks(self.context, self.vision.chunks(text, files), batch=batch)

    def first(self, text: str, *files: bytes) -> dict[bytes, float]:
        """Return the log-probabilities of the likeliest first tokens of an answer."""
        logits = self.logits(text, attachments(files), 512).astype(np.float64)
        logs = logits - np.log(np.exp(logits).sum())
        best = np.argsort(-logs)[:COUNT]
        return {self.model.piece(int(t), special=True): float(logs[t]) for t in best}

    def by_libmtmd(self, text: str, *files: bytes, batch: int = 512) -> NDArray[np.float32]:
        """Return the last logits that libmtmd's helpers compute for a prompt and files."""
        marked = text.replace("[img-0]", "<__media__>").replace("[img-1]", "<__media__>").encode()
        written = mtmd.mtmd_input_text(marked, len(marked), True, True)
        bitmaps = [
            mtmd.mtmd_helper_bitmap_init_from_buf(
                self.pointer, (ctypes.c_uint8 * len(file)).from_buffer_copy(file), len(file), False
            )
            for file in files
        ]
        chunks = mtmd.mtmd_input_chunks_init()
        array = (mtmd.mtmd_bitmap_p_ctypes * len(bitmaps))(*bitmaps)
        failed = mtmd.mtmd_tokenize(
            self.pointer, chunks, ctypes.byref(written), array, len(bitmaps)
        )
        assert not failed
        self.context.forget(-1)
        past = llama.llama_pos()
        failed = mtmd.mtmd_helper_eval_chunks(
            self.pointer, self.context.pointer, chunks, 0, 0, batch, True, ctypes.byref(past)
        )
        assert not failed
        mtmd.mtmd_input_chunks_free(chunks)
        for bitmap in bitmaps:
            mtmd.mtmd_bitmap_free(bitmap)
        return self.context.logits(-1).copy()

    def close(self) -> None:
        self.vision.close()
        self.context.close()
        llama.llama_model_free(self.model.pointer)


async def ask(runner: RunnerClient, text: str, *files: bytes) -> tuple[dict[bytes, float], Done]:
    """Return the likeliest first tokens of an answer, and its end."""
    first: dict[bytes, float] = {}
    options = Options(temperature=0, num_predict=3)
    async for event in runner.generate(RawPrompt(text, list(files)), options, logprobs=COUNT):
        if isinstance(event, Done):
            return first, event
        if isinstance(event, Text) and not first:
            first = {one.piece: one.logprob for one in event.logprobs[0].top}
    raise AssertionError("no Done")
