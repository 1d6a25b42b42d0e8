"""Prompts in the form of libmtmd: texts, and bitmaps that hold pictures or sounds."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from typing import Any

import llama_cpp.mtmd_cpp as mtmd
import numpy as np
from numpy.typing import NDArray

from ..errors import OllamaError
from ..prompt.control_marks import PromptPart
from .attachment import Attachment
from .sound import Sound

MARKER = re.compile(r"\[img-([0-9]{1,6})\]")
"""The marker of an attachment in a prompt; the number is its index in the request."""


def new_bitmap(projector: Any, attachment: Attachment, name: str, *, decoded: bool) -> Any:
    """Return a bitmap of libmtmd, which the caller frees; unless ``decoded`` it has only a size.

    ``projector`` is a context of libmtmd. Raises OllamaError(400) for broken data.
    """
    if isinstance(attachment, Sound):
        # The number of samples is known only after decoding.
        samples = attachment.samples(projector)
        data = _pointer(samples, ctypes.c_float) if decoded else None
        bitmap = mtmd.mtmd_bitmap_init_from_audio(len(samples), data)
    else:
        data = _pointer(attachment.pixels(), ctypes.c_uint8) if decoded else None
        bitmap = mtmd.mtmd_bitmap_init(attachment.width, attachment.height, data)
    mtmd.mtmd_bitmap_set_id(bitmap, name.encode())
    return bitmap


def _pointer(array: NDArray[Any], kind: Any) -> Any:
    # data_as keeps the array alive as long as the pointer.
    return np.ascontiguousarray(array).ctypes.data_as(ctypes.POINTER(kind))


def input_parts(pieces: Sequence[PromptPart], bitmaps: Sequence[Any]) -> list[ctypes.Structure]:
    """Split a prompt at its markers; a repeated marker is text.

    Raises OllamaError(400) if the markers do not match the bitmaps.
    """
    parts = []
    named = set()
    for text, is_markup in pieces:
        end = 0
        for marker in MARKER.finditer(text):
            number = int(marker[1])
            if number >= len(bitmaps):
                raise OllamaError(400, f"invalid image index: {number}")
            if number not in named:
                named.add(number)
                parts += _text_parts(text[end : marker.start()], is_markup)
                parts.append(mtmd.mtmd_input_part(None, bitmaps[number]))
                end = marker.end()
        parts += _text_parts(text[end:], is_markup)
    if len(named) < len(bitmaps):
        raise OllamaError(400, f"the prompt has markers for {len(named)} of {len(bitmaps)} images")
    return parts


def _text_parts(text: str, is_markup: bool) -> list[ctypes.Structure]:
    if not text:
        return []
    data = text.encode("utf-8", "replace")
    written = mtmd.mtmd_input_text(data, len(data), False, is_markup)
    return [mtmd.mtmd_input_part(ctypes.pointer(written), None)]
