"""The input of one llama_decode call: tokens, their positions and sequences, perhaps states."""

from __future__ import annotations

import ctypes
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray


def pointer_to(array: NDArray[Any], kind: Any) -> Any:
    """Return a C pointer to the data of an array, which must outlive it."""
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))


class Batch:
    """A llama_batch over numpy arrays, filled by slices rather than token by token."""

    def __init__(self, capacity: int, width: int = 0) -> None:
        """With a ``width`` each token comes with a hidden state, a row of ``states``."""
        self.capacity = capacity
        self.states = np.zeros((capacity, width), np.float32)
        self.size = 0
        self.outputs = 0
        self._tokens = np.zeros(capacity, np.int32)
        self._positions = np.zeros(capacity, np.int32)
        self._sequences = np.zeros(capacity, np.int32)
        self._outputs = np.zeros(capacity, np.int8)
        self._ones = np.ones(capacity, np.int32)
        # llama.cpp takes a pointer per token to its list of sequence ids: each points at its entry.
        base, stride = self._sequences.ctypes.data, self._sequences.itemsize
        self._pointers = base + stride * np.arange(capacity, dtype=np.uintp)
        self._struct = llama.llama_batch(
            0,
            pointer_to(self._tokens, llama.llama_token),
            pointer_to(self.states, ctypes.c_float) if width else None,
            pointer_to(self._positions, llama.llama_pos),
            pointer_to(self._ones, ctypes.c_int32),
            pointer_to(self._pointers, ctypes.POINTER(llama.llama_seq_id)),
            pointer_to(self._outputs, ctypes.c_int8),
        )

    @property
    def remaining(self) -> int:
        """The number of tokens that can still be added."""
        return self.capacity - self.size

    def clear(self) -> None:
        """Empty the batch."""
        self.size = self.outputs = 0

    def add(self, tokens: list[int], position: int, sequence: int, *, outputs: str) -> int:
        """Append consecutive tokens of a sequence and return the index of the last one.

        ``outputs`` is "none", "last" or "all": the tokens that get logits or embeddings.
        """
        start, stop = self.size, self.size + len(tokens)
        self._tokens[start:stop] = tokens
        self._positions[start:stop] = np.arange(position, position + len(tokens), dtype=np.int32)
        self._sequences[start:stop] = sequence
        self._outputs[start:stop] = outputs == "all"
        if outputs == "last":
            self._outputs[stop - 1] = True
        self.outputs += {"none": 0, "last": 1, "all": len(tokens)}[outputs]
        self.size = stop
        return stop - 1

    def add_newest(self, tokens: list[int], positions: list[int], sequences: list[int]) -> None:
        """Append one token of each of many sequences; all of them get logits."""
        start, stop = self.size, self.size + len(tokens)
        self._tokens[start:stop] = tokens
        self._positions[start:stop] = positions
        self._sequences[start:stop] = sequences
        self._outputs[start:stop] = True
        self.outputs += len(tokens)
        self.size = stop

    @property
    def sequences(self) -> set[int]:
        """The sequences that tokens were added for."""
        return set(self._sequences[: self.size].tolist())

    def as_struct(self) -> llama.llama_batch:
        """Return the C view of the batch."""
        self._struct.n_tokens = self.size
        return self._struct
