"""Putting quantized weights back into the published layout of their model."""

from __future__ import annotations

import bisect
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from ..library.gguf import Tensor
from .model_file import ModelFile
from .pieces import Made, Span, u32
from .source import Source
from .view import View
from .virtual_file import TensorView, VirtualFile

_CHUNK = 4 * 2**20


def restored(file: ModelFile, quantized: Path) -> VirtualFile:
    """Return a file in the layout of ``file`` with the weights of its quantized translation.

    Tensors that the translation hides, converts or cuts are unchanged. Raises InvalidGGUF.
    """
    assert file.translation
    weights = Source(quantized)
    found = {tensor.name: tensor for tensor in weights.header.tensors}
    view = View(file.source)
    owners = _Owners(view)
    parts: dict[str, list[_Part]] = {}
    for tensor in file.translation.tensors:
        new = found.get(tensor.name)
        if new is None or not all(isinstance(piece, Span) for piece in tensor.pieces):
            continue
        at = 0
        for span in tensor.pieces:
            assert isinstance(span, Span)
            name, offset = owners.of(span)
            size = new.size * span.size // tensor.size
            part = _Part(offset, span.size, new.type_name, _chunks(weights, new, at, size))
            parts.setdefault(name, []).append(part)
            at += size
    for name, of_tensor in parts.items():
        original = view.tensors[name]
        if sum(part.covered for part in of_tensor) == original.size:
            pieces = tuple(piece for part in sorted(of_tensor) for piece in part.pieces)
            view.put(TensorView(name, original.shape, of_tensor[0].type_name, pieces))
    file_type = weights.header.metadata.get("general.file_type")
    if isinstance(file_type, int):
        view.set("general.file_type", u32(file_type))
    return view.file()


class _Part(NamedTuple):
    """New data for the ``covered`` bytes of a tensor from ``offset`` on."""

    offset: int
    covered: int
    type_name: str
    pieces: list[Made]


class _Owners:
    """Finds the tensor that contains a span of the source file."""

    def __init__(self, view: View) -> None:
        self._spans = sorted(
            (piece.offset, tensor.name)
            for tensor in view.tensors.values()
            for piece in tensor.pieces
            if isinstance(piece, Span) and piece.size
        )

    def of(self, span: Span) -> tuple[str, int]:
        """Return the tensor that contains a span, and the offset of the span in its data."""
        place = bisect.bisect_right(self._spans, span.offset, key=itemgetter(0)) - 1
        offset, name = self._spans[place]
        return name, span.offset - offset


def _chunks(weights: Source, tensor: Tensor, start: int, size: int) -> list[Made]:
    """Return pieces that read ``size`` bytes of a tensor from its byte ``start`` on."""
    begin = weights.header.data_offset + tensor.offset + start
    return [
        Made(span.size, partial(weights.read, span))
        for at in range(0, size, _CHUNK)
        for span in [Span(begin + at, min(_CHUNK, size - at))]
    ]
