"""A llama.cpp context: a batch to fill, memory to edit, logits and embeddings to read."""

from __future__ import annotations

import ctypes
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from .llama_model import LlamaModel, LoadError

KV_CACHE_TYPES = {
    "f32": llama.GGML_TYPE_F32,
    "f16": llama.GGML_TYPE_F16,
    "q8_0": llama.GGML_TYPE_Q8_0,
    "q4_0": llama.GGML_TYPE_Q4_0,
}
FLASH_ATTENTION = {
    None: llama.LLAMA_FLASH_ATTN_TYPE_AUTO,
    True: llama.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    False: llama.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}

GIVEN_UP = 2
"""What ``decode`` returns for a batch that was ended before it was done."""

MAX_OUTPUTS = 64
"""Logits rows of one batch: one for each sequence, the rest for drafts."""


def _pointer(array: NDArray[Any], kind: Any) -> Any:
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))


class Batch:
    """A llama_batch over numpy arrays, filled by slices rather than token by token."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.size = 0
        self.outputs = 0
        self._tokens = np.zeros(capacity, np.int32)
        self._positions = np.zeros(capacity, np.int32)
        self._sequences = np.zeros(capacity, np.int32)
        self._outputs = np.zeros(capacity, np.int8)
        self._ones = np.ones(capacity, np.int32)
        # llama.cpp wants a pointer per token to its list of sequence ids: each points at its cell.
        base, stride = self._sequences.ctypes.data, self._sequences.itemsize
        self._pointers = base + stride * np.arange(capacity, dtype=np.uintp)
        self._struct = llama.llama_batch(
            0,
            _pointer(self._tokens, llama.llama_token),
            None,
            _pointer(self._positions, llama.llama_pos),
            _pointer(self._ones, ctypes.c_int32),
            _pointer(self._pointers, ctypes.POINTER(llama.llama_seq_id)),
            _pointer(self._outputs, ctypes.c_int8),
        )

    @property
    def room(self) -> int:
        """Tokens that still fit."""
        return self.capacity - self.size

    def clear(self) -> None:
        """Make the batch empty."""
        self.size = self.outputs = 0

    def add(self, tokens: list[int], position: int, sequence: int, *, outputs: str) -> int:
        """Append consecutive tokens of a sequence and return the index of the last one.

        ``outputs`` says which of them shall have logits or embeddings: "none", "last" or "all".
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
        """Append one token of each of many sequences; all of them shall have logits."""
        start, stop = self.size, self.size + len(tokens)
        self._tokens[start:stop] = tokens
        self._positions[start:stop] = positions
        self._sequences[start:stop] = sequences
        self._outputs[start:stop] = True
        self.outputs += len(tokens)
        self.size = stop

    def as_struct(self) -> llama.llama_batch:
        """Return the C view of what was added."""
        self._struct.n_tokens = self.size
        return self._struct


class LlamaContext:
    """One llama_context with many sequences in one unified KV cache."""

    def __init__(
        self,
        model: LlamaModel,
        *,
        cells: int,
        sequences: int,
        batch: int,
        ubatch: int,
        threads: int,
        kv_cache_type: str = "f16",
        flash_attention: bool | None = None,
        pooling: int | None = None,
    ) -> None:
        """Allocate a context of ``cells`` tokens shared by ``sequences``.

        ``batch`` and ``ubatch`` are the tokens of one call and of one graph. A ``pooling`` type
        makes it a context for embeddings, -1 leaving the choice to the model.
        """
        params = llama.llama_context_default_params()
        params.n_ctx = cells
        params.n_seq_max = sequences
        params.n_batch = batch
        params.n_ubatch = ubatch
        params.n_threads = params.n_threads_batch = threads
        params.type_k = params.type_v = KV_CACHE_TYPES[kv_cache_type]
        params.flash_attn_type = FLASH_ATTENTION[flash_attention]
        params.kv_unified = True
        params.swa_full = True
        params.no_perf = True
        self.max_outputs = max(sequences, MAX_OUTPUTS)
        if pooling is None:
            # Logits for every token of a batch would need a buffer of hundreds of MB.
            params.n_outputs_max = self.max_outputs
        else:
            params.embeddings = True
            params.pooling_type = pooling
        self.pointer = llama.llama_init_from_model(model.pointer, params)
        if not self.pointer:
            raise LoadError("unable to allocate a context; a smaller num_ctx needs less memory")
        self._n_vocab = model.n_vocab
        self._logits_key = (0, 0)
        self._logits: NDArray[np.float32]
        ranks = llama.llama_pooling_type(self.pointer) == llama.LLAMA_POOLING_TYPE_RANK
        self._n_pooled = llama.llama_model_n_cls_out(model.pointer) if ranks else model.n_embd_out
        self.memory = llama.llama_get_memory(self.pointer)
        self.can_shift = bool(self.memory and llama.llama_memory_can_shift(self.memory))
        self.is_recurrent = bool(
            llama.llama_model_is_recurrent(model.pointer)
            or llama.llama_model_is_hybrid(model.pointer)
        )
        self.cells: int = llama.llama_n_ctx(self.pointer)
        self.batch: int = llama.llama_n_batch(self.pointer)
        self.max_sequences: int = llama.llama_n_seq_max(self.pointer)

    def close(self) -> None:
        """Free all memory; nothing may be called after this."""
        llama.llama_free(self.pointer)

    def decode(self, batch: Batch) -> int:
        """Run a batch and return llama_decode's code: 0 done, 1 no room in the KV cache, < 0 error.

        GIVEN_UP may leave a part of the batch in the memory. Encoders, which have no memory, run
        here as well.
        """
        run = llama.llama_decode if self.memory else llama.llama_encode
        return int(run(self.pointer, batch.as_struct()))

    def decode_embeddings(
        self,
        embeddings: NDArray[np.float32],
        positions: NDArray[np.int32],
        sequence: int,
        *,
        causal: bool,
    ) -> int:
        """Run a batch of embeddings (tokens, n_embd) in place of tokens; return as ``decode`` does.

        ``positions`` has one row, or four where the model wants so many for each.
        """
        count = len(embeddings)
        rows = np.ascontiguousarray(embeddings, np.float32)
        flat = np.ascontiguousarray(positions, np.int32).ravel()
        ids, ones = np.full(count, sequence, np.int32), np.ones(count, np.int32)
        outputs = np.zeros(count, np.int8)
        pointers = ids.ctypes.data + ids.itemsize * np.arange(count, dtype=np.uintp)
        batch = llama.llama_batch(
            count,
            None,
            _pointer(rows, ctypes.c_float),
            _pointer(flat, llama.llama_pos),
            _pointer(ones, ctypes.c_int32),
            _pointer(pointers, ctypes.POINTER(llama.llama_seq_id)),
            _pointer(outputs, ctypes.c_int8),
        )
        llama.llama_set_causal_attn(self.pointer, causal)
        try:
            return int(llama.llama_decode(self.pointer, batch))
        finally:
            llama.llama_set_causal_attn(self.pointer, True)

    def set_adapters(self, adapters: list[Any]) -> None:
        """Apply LoRA adapters, each at full scale, to all that follows."""
        count = len(adapters)
        pointers = (llama.llama_adapter_lora_p_ctypes * count)(*adapters)
        scales = (ctypes.c_float * count)(*([1.0] * count))
        if count and llama.llama_set_adapters_lora(self.pointer, pointers, count, scales):
            raise LoadError("unable to apply the adapters")

    def logits(self, row: int) -> NDArray[np.float32]:
        """Return a view, valid until the next decode, of one token's logits (n_vocab float32)."""
        return self._view(llama.llama_get_logits_ith(self.pointer, row), self._n_vocab)

    def all_logits(self, rows: int) -> NDArray[np.float32]:
        """Return a view, valid until the next decode, of all logits (rows, n_vocab float32).

        ``rows`` is the number of outputs that the batch asked for; they are in its order. Waits for
        the device.
        """
        pointer = llama.llama_get_logits(self.pointer)
        key = (ctypes.addressof(pointer.contents), rows)
        if key != self._logits_key:
            # The buffer stays where it is for thousands of steps; a view takes longer than argmax.
            flat = self._view(pointer, rows * self._n_vocab)
            self._logits_key, self._logits = key, flat.reshape(rows, self._n_vocab)
        return self._logits

    def sequence_embedding(self, sequence: int) -> NDArray[np.float32]:
        """Return a view of the pooled embedding of a sequence (n_embd_out float32).

        One of a model that ranks has so many numbers as its classes (n_cls_out).
        """
        pointer = llama.llama_get_embeddings_seq(self.pointer, sequence)
        return self._view(pointer, self._n_pooled)

    @staticmethod
    def _view(pointer: Any, size: int) -> NDArray[np.float32]:
        address = ctypes.cast(pointer, ctypes.c_void_p).value
        if not address:
            raise RuntimeError("llama.cpp has no output for this row")
        return np.ctypeslib.as_array((ctypes.c_float * size).from_address(address))

    def forget(self, sequence: int) -> None:
        """Drop all that the memory holds of a sequence (of every one for -1)."""
        if self.memory:
            llama.llama_memory_seq_rm(self.memory, sequence, -1, -1)

    def fork(self, source: int, target: int, length: int) -> None:
        """Let a sequence share the first ``length`` tokens of another one; nothing is copied."""
        end = -1 if self.is_recurrent else length
        llama.llama_memory_seq_cp(self.memory, source, target, 0, end)

    def cut(self, sequence: int, length: int) -> None:
        """Drop what a sequence has behind its first ``length`` tokens."""
        llama.llama_memory_seq_rm(self.memory, sequence, length, -1)

    def save(self, sequence: int) -> NDArray[np.uint8] | None:
        """Return all that the memory holds of a sequence, to restore it later; None if it fails."""
        state = np.empty(llama.llama_state_seq_get_size(self.pointer, sequence), np.uint8)
        buffer = _pointer(state, ctypes.c_uint8)
        size = llama.llama_state_seq_get_data(self.pointer, buffer, state.size, sequence)
        return state if size == state.size else None

    def restore(self, sequence: int, state: NDArray[np.uint8]) -> bool:
        """Fill an empty sequence from a saved state; False if there is no room for it."""
        buffer = _pointer(state, ctypes.c_uint8)
        return bool(llama.llama_state_seq_set_data(self.pointer, buffer, state.size, sequence))

    def shift(self, sequence: int, keep: int, discard: int, length: int) -> None:
        """Drop ``discard`` tokens after the first ``keep`` and move the rest of ``length`` down."""
        llama.llama_memory_seq_rm(self.memory, sequence, keep, keep + discard)
        llama.llama_memory_seq_add(self.memory, sequence, keep + discard, length, -discard)
