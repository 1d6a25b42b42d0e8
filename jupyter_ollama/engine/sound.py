"""The bytes of a sound file -> samples at the rate of a projector. Runner process only."""

from __future__ import annotations

import ctypes
import hashlib
from typing import Any

import llama_cpp.mtmd_cpp as mtmd
import numpy as np
from numpy.typing import NDArray

from ..errors import OllamaError
from .sound_file import NO_SOUND, SoundFile

WINDOW_SECONDS = 30
"""Projectors cut longer sounds into windows of this length, or of a multiple."""

SHORTEST = 0.1
"""Seconds. libmtmd aborts the process for a sound of one sample, and some projectors for a window
of less than two frames."""

LOUDEST = 8.0
"""Samples are clipped to this value, where 1 is full scale: their squares must stay finite."""

_SLACK = 4096
"""Bytes of zeros after a file: its decoder reads ahead without checking where the file ends."""


class Sound:
    """A sound file: its digest, length and samples."""

    def __init__(self, data: bytes) -> None:
        """Read the headers. Raises OllamaError(400) for files that are no sounds or too long."""
        file = SoundFile(data)
        self.digest = hashlib.sha256(data).hexdigest()
        self.seconds = file.seconds
        self._content = file.content
        self._samples: NDArray[np.float32] | None = None

    def samples(self, projector: Any) -> NDArray[np.float32]:
        """Decode, once: (n,) float32, mono, at the rate of ``projector``, a context of libmtmd.

        Raises OllamaError(400) for broken data.
        """
        if self._samples is None:
            rate = mtmd.mtmd_get_audio_sample_rate(projector)
            self._samples = _padded(_cleaned(_decoded(projector, self._content)), rate)
        return self._samples


def _decoded(projector: Any, content: bytes) -> NDArray[np.float32]:
    buffer = (ctypes.c_uint8 * (len(content) + _SLACK))()
    ctypes.memmove(buffer, content, len(content))
    bitmap = mtmd.mtmd_helper_bitmap_init_from_buf(projector, buffer, len(content), False)
    if not bitmap:
        raise OllamaError(400, NO_SOUND)
    try:
        count = mtmd.mtmd_bitmap_get_n_bytes(bitmap) // 4
        if not count:
            raise OllamaError(400, NO_SOUND)
        found = ctypes.cast(mtmd.mtmd_bitmap_get_data(bitmap), ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(found, (count,)).copy()
    finally:
        mtmd.mtmd_bitmap_free(bitmap)


def _cleaned(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Replace samples that are not finite, which would spread through the whole spectrum."""
    return np.clip(np.nan_to_num(samples, copy=False, nan=0.0), -LOUDEST, LOUDEST)


def _padded(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Return samples whose last window is not too short, with silence at their end."""
    in_last = len(samples) % (WINDOW_SECONDS * rate)
    lacking = int(SHORTEST * rate) - in_last
    if in_last == 0 or lacking <= 0:
        return samples
    return np.pad(samples, (0, lacking))
