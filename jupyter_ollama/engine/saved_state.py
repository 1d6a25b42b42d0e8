"""Sequences of a KV cache in host memory.

llama.cpp omits from a saved state the tokens outside of the sliding window of the last one. The
restored state then has other cells than before, by which attention would sum in another order, and
no shorter prefix of it can be used. So a sequence of a model with sliding windows is saved in parts
that are no longer than the window, by way of a spare sequence id.

Others are saved in parts of PART tokens: a copy of a long sequence would delay the next step.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import NamedTuple

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from .batch import pointer_to

PART = 256
"""Tokens of a part, which take some 10 ms to copy."""


class SavedState(NamedTuple):
    """The saved tokens of a sequence, from position ``first`` on, in ``parts``."""

    first: int
    parts: list[NDArray[np.uint8]]

    @property
    def nbytes(self) -> int:
        """The size in bytes."""
        return sum(part.nbytes for part in self.parts)


@dataclass
class StateCopy:
    """The parts of a sequence that are saved so far: the positions below ``end``."""

    parts: list[NDArray[np.uint8]] = field(default_factory=list)
    end: int = 0


def save_next(
    pointer: llama.llama_context_p,
    sequence: int,
    spare: int,
    *,
    window: int,
    part: int,
    copy: StateCopy,
) -> SavedState | None:
    """Save the next ``part`` positions of a sequence; return its state after the last ones.

    That takes an unused sequence. Without (-1), and with ``part`` 0, all is saved at once, but only
    the ``window`` of the last token. Raises RuntimeError if llama.cpp cannot do it.
    """
    memory = llama.llama_get_memory(pointer)
    first = int(llama.llama_memory_seq_pos_min(memory, sequence))
    last = int(llama.llama_memory_seq_pos_max(memory, sequence))
    if not part or last < part or first or spare < 0:
        seen = max(first, last - window + 1) if window else first
        return SavedState(seen, [_save(pointer, sequence)])
    start, copy.end = copy.end, copy.end + part
    copy.parts.append(save_part(pointer, sequence, spare, start, copy.end))
    return SavedState(0, copy.parts) if copy.end > last else None


def save_part(
    pointer: llama.llama_context_p, sequence: int, spare: int, start: int, end: int
) -> NDArray[np.uint8]:
    """Save the tokens from position ``start`` to ``end`` by way of an unused sequence.

    Raises RuntimeError if llama.cpp cannot do it.
    """
    memory = llama.llama_get_memory(pointer)
    llama.llama_memory_seq_cp(memory, sequence, spare, start, end)
    try:
        return _save(pointer, spare)
    finally:
        llama.llama_memory_seq_rm(memory, spare, -1, -1)


def restore(pointer: llama.llama_context_p, sequence: int, state: SavedState, spare: int) -> bool:
    """Fill an empty sequence from a saved state; False if no cells are free for it.

    A state of several parts needs an unused sequence for that.
    """
    memory = llama.llama_get_memory(pointer)
    if not _restore(pointer, sequence, state.parts[0]):
        return False
    for part in state.parts[1:]:
        if spare < 0 or not add_part(pointer, sequence, part, spare):
            llama.llama_memory_seq_rm(memory, sequence, -1, -1)
            return False
    return True


def add_part(
    pointer: llama.llama_context_p, sequence: int, part: NDArray[np.uint8], spare: int
) -> bool:
    """Append a part to a sequence by way of an unused one; False if no cells are free for it."""
    memory = llama.llama_get_memory(pointer)
    if not _restore(pointer, spare, part):
        return False
    llama.llama_memory_seq_cp(memory, spare, sequence, -1, -1)
    llama.llama_memory_seq_rm(memory, spare, -1, -1)
    return True


def _save(pointer: llama.llama_context_p, sequence: int) -> NDArray[np.uint8]:
    state = np.empty(llama.llama_state_seq_get_size(pointer, sequence), np.uint8)
    buffer = pointer_to(state, ctypes.c_uint8)
    if llama.llama_state_seq_get_data(pointer, buffer, state.size, sequence) != state.size:
        raise RuntimeError("llama.cpp cannot read the state of a sequence")
    return state


def _restore(pointer: llama.llama_context_p, sequence: int, state: NDArray[np.uint8]) -> bool:
    buffer = pointer_to(state, ctypes.c_uint8)
    return bool(llama.llama_state_seq_set_data(pointer, buffer, state.size, sequence))
