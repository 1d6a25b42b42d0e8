"""Conversions of tensor data, done while llama.cpp reads it."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .errors import LayoutError
from .pieces import Made, Span, piece_size
from .view import View
from .virtual_file import TensorView, block_size, type_number

_CHUNK = 4 * 2**20


def read_floats(view: View, tensor: TensorView) -> NDArray[np.float32]:
    """Return the values of a tensor of any type, flat: (n,) float32."""
    data = read_bytes(view, tensor)
    if tensor.type_name == "F32":
        return np.frombuffer(data, np.float32)
    if tensor.type_name == "F16":
        return np.frombuffer(data, np.float16).astype(np.float32)
    if tensor.type_name == "BF16":
        return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
    return _dequantized(tensor, data)


def read_bytes(view: View, tensor: TensorView) -> bytes:
    """Return the data of an unconverted tensor."""
    parts = []
    for piece in tensor.pieces:
        if isinstance(piece, Made):
            parts.append(piece.make())
        else:
            parts.append(view.source.read(piece) if isinstance(piece, Span) else piece)
    return b"".join(parts)


class _TypeTraits(ctypes.Structure):
    """The beginning of ``struct ggml_type_traits`` (ggml.h)."""

    _fields_ = [
        ("type_name", ctypes.c_char_p),
        ("block_size", ctypes.c_int64),
        ("block_size_interleaved", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int64)),
    ]


def _dequantized(tensor: TensorView, data: bytes) -> NDArray[np.float32]:
    # Only runners and their children call this, and they have loaded llama.cpp.
    import llama_cpp.llama_cpp as llama

    traits_of = llama._lib.ggml_get_type_traits
    traits_of.restype, traits_of.argtypes = ctypes.POINTER(_TypeTraits), [ctypes.c_int]
    traits = traits_of(type_number(tensor)).contents
    if not traits.to_float or (traits.block_size, traits.type_size) != block_size(tensor):
        raise LayoutError(f"tensor {tensor.name} cannot be converted from {tensor.type_name}")
    values = np.empty(math.prod(tensor.shape), np.float32)
    traits.to_float(data, values.ctypes.data, values.size)
    return values


def _made_of_floats(count: int, values: Callable[[], NDArray[np.float32]]) -> Made:
    """Defer a computation of ``count`` values until they are read."""
    return Made(4 * count, lambda: np.ascontiguousarray(values(), np.float32).tobytes())


def to_float32(view: View, *names: str) -> None:
    """Convert F16 tensors to F32; other tensors are unchanged, missing ones are skipped."""
    for name in names:
        tensor = view.tensors.get(name)
        if tensor is not None and tensor.type_name == "F16":
            _convert_floats(view, tensor, lambda values: values)


def add_one(view: View, name: str) -> None:
    """Convert a tensor to F32 and add 1 to each value."""
    _convert_floats(view, view.tensors[name], lambda values: values + 1)


def _convert_floats(
    view: View,
    tensor: TensorView,
    change: Callable[[NDArray[np.float32]], NDArray[np.float32]],
) -> None:
    count = math.prod(tensor.shape)
    made = _made_of_floats(count, lambda: change(read_floats(view, tensor)))
    view.put(TensorView(tensor.name, tensor.shape, "F32", (made,)))


def join_qkv(view: View, prefix: str, *, as_float32: bool = False) -> None:
    """Replace ``attn_q``, ``attn_k`` and ``attn_v`` of a block by one ``attn_qkv``.

    With ``as_float32`` they may be of different types.
    """
    for kind in ("weight", "bias"):
        names = [f"{prefix}attn_{part}.{kind}" for part in "qkv"]
        found = [name for name in names if name in view.tensors]
        if not found:
            continue
        for name in names:
            tensor = view.tensors.get(name)
            if tensor is None:
                raise LayoutError(f"tensor {name} is missing")
            if as_float32 and tensor.type_name != "F32":
                _convert_floats(view, tensor, lambda values: values)
        view.concatenate(f"{prefix}attn_qkv.{kind}", *names)


def split_frames(view: View, name: str, target: str, channels: int) -> None:
    """Split a convolution over two frames, [w, h, 2, out * channels], into one for each: F32."""
    if name not in view.tensors:
        return
    tensor = view.take(name)
    width, height, frames, planes = tensor.shape if len(tensor.shape) == 4 else (0, 0, 0, 0)
    if frames != 2 or not channels or planes % channels:
        raise LayoutError(f"tensor {name} is not a convolution over two frames")
    shape = (width, height, channels, planes // channels)

    def frame(number: int) -> Made:
        def values() -> NDArray[np.float32]:
            return read_floats(view, tensor).reshape(planes, 2, height, width)[:, number]

        return _made_of_floats(math.prod(shape), values)

    view.put(TensorView(target, shape, "F32", (frame(0),)))
    view.put(TensorView(f"{target}.1", shape, "F32", (frame(1),)))


def interleave_rotary(view: View, name: str, heads: int) -> None:
    """Order the rows of each head of F16 weights for llama.cpp's rotary embedding.

    Output row 2j + s of a head is its row j + s * half.
    """
    tensor = view.tensors.get(name)
    if tensor is None or tensor.type_name != "F16":
        return
    columns, rows = tensor.shape if len(tensor.shape) == 2 else (0, 0)
    if not heads or rows % (2 * heads):
        raise LayoutError(f"the rows of tensor {name} are not {heads} heads")

    def permuted() -> bytes:
        values = np.frombuffer(read_bytes(view, tensor), np.float16)
        halves = values.reshape(heads, 2, rows // heads // 2, columns)
        return halves.transpose(0, 2, 1, 3).tobytes()

    view.put(tensor._replace(pieces=(Made(2 * rows * columns, permuted),)))


def repack_mxfp4(view: View) -> None:
    """Convert MXFP4 blocks of Ollama's first order, MXFP4_RAW, to the order of llama.cpp."""
    for tensor in list(view.tensors.values()):
        if tensor.type_name != "MXFP4_RAW":
            continue
        (span,) = tensor.pieces
        assert isinstance(span, Span)
        pieces = []
        size = _CHUNK // 17 * 17
        for start in range(0, piece_size(span), size):
            part = Span(span.offset + start, min(size, span.size - start))
            pieces.append(Made(part.size, lambda part=part: _repacked(view.source.read(part))))  # type: ignore[misc]
        view.put(TensorView(tensor.name, tensor.shape, "MXFP4", tuple(pieces)))


def _repacked(data: bytes) -> bytes:
    """Reorder the nibbles of MXFP4 blocks: a scale, then 16 bytes with two values each."""
    blocks = np.frombuffer(data, np.uint8).reshape(-1, 17)
    first, second = blocks[:, 1:9], blocks[:, 9:]
    out = np.empty_like(blocks)
    out[:, 0] = blocks[:, 0]
    out[:, 1::2] = (first & 15) | ((second & 15) << 4)
    out[:, 2::2] = (first >> 4) | (second & 240)
    return out.tobytes()


def resize_positions(view: View, name: str, target: str, width: int, side: int) -> None:
    """Stretch square position embeddings to ``side`` rows and columns: F32 [width, side * side].

    Bilinear with aligned corners. The tensor is [width, positions] or transposed.
    """
    if name not in view.tensors:
        return
    tensor = view.take(name)
    shape = tuple(size for size in tensor.shape if size != 1)
    transposed = len(shape) == 2 and shape[0] != width
    if len(shape) != 2 or width not in shape:
        raise LayoutError(f"tensor {name} does not have rows of {width} values")
    positions = shape[0] if transposed else shape[1]
    source_side = math.isqrt(positions)
    if source_side**2 != positions or not side:
        raise LayoutError(f"tensor {name} is not a square of positions")

    def stretched() -> NDArray[np.float32]:
        values = read_floats(view, tensor).reshape(shape[::-1])
        grid = (values.T if transposed else values).reshape(source_side, source_side, width)
        if side == source_side:
            return grid
        return _stretch(_stretch(grid, side, axis=0), side, axis=1)

    made = _made_of_floats(width * side * side, stretched)
    view.put(TensorView(target, (width, side * side), "F32", (made,)))


def _stretch(grid: NDArray[np.float32], side: int, axis: int) -> NDArray[np.float32]:
    length = grid.shape[axis]
    at = np.arange(side) * ((length - 1) / max(side - 1, 1))
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, length - 1)
    weight = (at - low).astype(np.float32)
    weight = weight.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    below, above = np.take(grid, low, axis), np.take(grid, high, axis)
    stretched: NDArray[np.float32] = below * (1 - weight) + above * weight
    return stretched
