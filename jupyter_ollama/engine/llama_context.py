"""A llama.cpp context: a batch to fill, memory to edit, logits and embeddings to read."""

from __future__ import annotations

import ctypes
from functools import cached_property
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from ..options import KV_CACHE_TYPES
from . import llama_internals, saved_state
from .adapters import NO_ADAPTERS, AdapterSets
from .attention_costs import AttentionCosts, filled_from, measure_attention
from .batch import Batch, pointer_to
from .llama_model import LlamaModel, LoadError
from .reading_order import NEVER
from .saved_state import SavedState, StateCopy

CACHE_TYPES: dict[str, int] = {
    name: getattr(llama, f"GGML_TYPE_{name.upper()}") for name in ("f32", *KV_CACHE_TYPES)
}
FLASH_ATTENTION = {
    None: llama.LLAMA_FLASH_ATTN_TYPE_AUTO,
    True: llama.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    False: llama.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}

INTERRUPTED = 2
"""The return value of ``decode`` for a batch that was interrupted."""

MAX_OUTPUTS = 64
"""Logits rows of one batch: one for each sequence, the rest for drafts."""


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
        snapshots: int = 0,
        has_states: bool = False,
        is_head: bool = False,
        adapters: AdapterSets | None = None,
    ) -> None:
        """Allocate a context of ``cells`` tokens shared by ``sequences``.

        ``batch`` and ``ubatch`` are the tokens of one call and of one graph. A ``pooling`` type
        makes it a context for embeddings; -1 leaves the choice to the model. A recurrent model can
        remove as many tokens again as there are ``snapshots``. With ``has_states`` the hidden state
        of each output can be read, from which the context of the model's head (``is_head``) drafts.
        ``adapters`` are those that `apply` can choose from.
        """
        params = llama.llama_context_default_params()
        params.n_ctx = cells
        params.n_seq_max = sequences
        params.n_batch = batch
        params.n_ubatch = ubatch
        params.n_threads = params.n_threads_batch = threads
        params.type_k = params.type_v = CACHE_TYPES[kv_cache_type]
        params.flash_attn_type = FLASH_ATTENTION[flash_attention]
        params.kv_unified = True
        params.swa_full = True
        params.no_perf = True
        params.n_rs_seq = snapshots
        if is_head:
            params.ctx_type = llama.LLAMA_CONTEXT_TYPE_MTP
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
        self.has_states = has_states
        if has_states or is_head:
            # Only for outputs, since the last layer would otherwise compute all tokens of a prompt.
            # In a head llama.cpp would then return wrong ones if some tokens are no outputs.
            llama_internals.llama_set_embeddings_nextn(self.pointer, True, not is_head)
        self._adapters = adapters
        self.applied = NO_ADAPTERS
        """The set of adapters with which batches are computed."""
        self._n_vocab = model.n_vocab
        self._n_embd = model.n_embd_out
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
        self.window: int = llama.llama_model_n_swa(model.pointer)
        """Positions that layers with a sliding window attend to; 0 without such layers."""
        # llama.cpp sets it to 0 for architectures that cannot remove a token.
        self.snapshots: int = llama.llama_n_rs_seq(self.pointer) if self.is_recurrent else 0
        self._model = model
        self._has_tiles = flash_attention is not False and kv_cache_type in ("f16", "f32")
        self._stepped_back: set[int] = set()
        self.cells: int = llama.llama_n_ctx(self.pointer)
        self.batch: int = llama.llama_n_batch(self.pointer)
        self.max_sequences: int = llama.llama_n_seq_max(self.pointer)

    @cached_property
    def attention(self) -> AttentionCosts | None:
        """The measured costs of attention on a CPU if large batches are computed in tiles."""
        threads = llama.llama_n_threads_batch(self.pointer)
        return measure_attention(self._model, threads) if self._has_tiles else None

    @property
    def filled_from(self) -> int:
        """Tokens from which fillers complete the next ones to a tile, on a CPU."""
        can_fill = not (self._model.mixes_tokens or self.is_recurrent or self.window)
        return filled_from(self._model) if self._has_tiles and can_fill else NEVER

    def close(self) -> None:
        """Free all memory; nothing may be called after this."""
        llama.llama_free(self.pointer)

    def decode(self, batch: Batch) -> int:
        """Run a batch and return llama_decode's code: 0 done, 1 no free KV cells, < 0 error.

        INTERRUPTED may leave a part of the batch in the memory. Encoders, which have no memory, run
        here as well.
        """
        run = llama.llama_decode if self.memory else llama.llama_encode
        code = int(run(self.pointer, batch.as_struct()))
        if self._stepped_back and code == 0:
            self._stepped_back -= batch.sequences
        return code

    def decode_embeddings(
        self,
        embeddings: NDArray[np.float32],
        positions: NDArray[np.int32],
        sequence: int,
        *,
        causal: bool,
    ) -> int:
        """Run a batch of embeddings (tokens, n_embd) in place of tokens; return as ``decode`` does.

        ``positions`` has one row, or four for models that take four positions each.
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
            pointer_to(rows, ctypes.c_float),
            pointer_to(flat, llama.llama_pos),
            pointer_to(ones, ctypes.c_int32),
            pointer_to(pointers, ctypes.POINTER(llama.llama_seq_id)),
            pointer_to(outputs, ctypes.c_int8),
        )
        llama.llama_set_causal_attn(self.pointer, causal)
        self._stepped_back.discard(sequence)
        try:
            return int(llama.llama_decode(self.pointer, batch))
        finally:
            llama.llama_set_causal_attn(self.pointer, True)

    def apply(self, adapters: int) -> bool:
        """Compute batches with a set of adapters from now on; return whether that is a change.

        After a change llama.cpp plans its buffers again, in the next call of ``decode``.
        """
        if adapters == self.applied:
            return False
        wanted, former = self._pointers(adapters), self._pointers(self.applied)
        self.applied = adapters
        if wanted == former:
            return False
        llama.llama_synchronize(self.pointer)
        self.set_adapters(wanted)
        return True

    def _pointers(self, adapters: int) -> list[Any]:
        return self._adapters.pointers(adapters) if self._adapters else []

    def leave(self, adapters: int) -> None:
        """Stop applying a set of adapters, so that it can be freed."""
        if self.applied == adapters:
            llama.llama_synchronize(self.pointer)
            self.apply(NO_ADAPTERS)

    def set_adapters(self, adapters: list[Any]) -> None:
        """Apply LoRA adapters, each at full scale, in place of all others. Raises LoadError."""
        count = len(adapters)
        pointers = (llama.llama_adapter_lora_p_ctypes * count)(*adapters)
        scales = (ctypes.c_float * count)(*([1.0] * count))
        if llama.llama_set_adapters_lora(self.pointer, pointers, count, scales):
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

    def all_states(self, rows: int) -> NDArray[np.float32]:
        """Return a view, valid until the next decode, of hidden states (rows, n_embd float32).

        They belong to the tokens of ``all_logits``; in the context of a head, to all tokens of the
        batch.
        """
        # Reading the logits sorts all outputs, these too, from llama.cpp's order into the batch's.
        llama.llama_get_logits(self.pointer)
        pointer = llama_internals.llama_get_embeddings_nextn(self.pointer)
        return self._view(pointer, rows * self._n_embd).reshape(rows, self._n_embd)

    def sequence_embedding(self, sequence: int) -> NDArray[np.float32]:
        """Return a view of the pooled embedding of a sequence (n_embd_out float32).

        A model that ranks has one number for each of its classes (n_cls_out).
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
        """Remove a sequence from the memory (every sequence for -1)."""
        if not self.memory:
            return
        if sequence < 0:
            # The memory of recurrent models refuses to remove the tokens of all sequences.
            llama.llama_memory_clear(self.memory, False)
            self._stepped_back.clear()
        else:
            llama.llama_memory_seq_rm(self.memory, sequence, -1, -1)
            self._stepped_back.discard(sequence)

    def first_position(self, sequence: int) -> int:
        """Return the first position that is in the memory of all layers; -1 without any.

        It is not 0 where layers with a sliding window have lost cells: llama.cpp reuses those
        outside of a sequence's window, although the cache has its full size.
        """
        return int(llama.llama_memory_seq_pos_min(self.memory, sequence))

    def fork(self, source: int, target: int, length: int) -> None:
        """Share the first ``length`` tokens of another sequence; nothing is copied."""
        if source in self._stepped_back:
            self._settle(source)
        end = -1 if self.is_recurrent else length
        llama.llama_memory_seq_cp(self.memory, source, target, 0, end)

    def cut(self, sequence: int, length: int) -> None:
        """Remove the tokens of a sequence after its first ``length``.

        A recurrent model can do so once after each decode, for as many tokens as it has snapshots.
        """
        if llama.llama_memory_seq_rm(self.memory, sequence, length, -1) and self.is_recurrent:
            self._stepped_back.add(sequence)

    def _settle(self, sequence: int) -> None:
        """Make a recurrent state that was stepped back the newest one.

        llama.cpp does so with the next decode of that sequence; a fork would miss it.
        """
        self._stepped_back.discard(sequence)
        flags = llama.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY
        state = np.empty(
            llama.llama_state_seq_get_size_ext(self.pointer, sequence, flags), np.uint8
        )
        part = self.pointer, pointer_to(state, ctypes.c_uint8), state.size, sequence, flags
        if not llama.llama_state_seq_get_data_ext(*part):
            raise RuntimeError("llama.cpp cannot read the state of a sequence")
        if not llama.llama_state_seq_set_data_ext(*part):
            raise RuntimeError("llama.cpp cannot set the state of a sequence")

    def save_next(self, sequence: int, copy: StateCopy, spare: int = -1) -> SavedState | None:
        """Add a part of the memory of a sequence to its ``copy``; return the state if it is whole.

        Tokens outside of a sliding window are included only by way of a ``spare`` sequence. Raises
        RuntimeError if llama.cpp cannot do it.
        """
        part = 0 if self.is_recurrent else self.window or saved_state.PART
        return saved_state.save_next(
            self.pointer, sequence, spare, window=self.window, part=part, copy=copy
        )

    def save_part(
        self, sequence: int, spare: int, start: int, end: int
    ) -> NDArray[np.uint8] | None:
        """Return the memory of the positions from ``start`` to ``end``; None if it fails.

        A SavedState has one or more of such parts. ``spare`` is a sequence that is not in use.
        """
        try:
            return saved_state.save_part(self.pointer, sequence, spare, start, end)
        except RuntimeError:
            return None

    def add_part(self, sequence: int, spare: int, part: NDArray[np.uint8]) -> bool:
        """Append the tokens of `save_part` to a sequence; False if no cells are free for them."""
        return saved_state.add_part(self.pointer, sequence, part, spare)

    def restore(self, sequence: int, state: SavedState, spare: int = -1) -> bool:
        """Fill an empty sequence from a saved state; False if no cells are free for it.

        A state that was saved by way of a spare sequence needs one again.
        """
        self._stepped_back.discard(sequence)
        return saved_state.restore(self.pointer, sequence, state, spare)

    def shift(self, sequence: int, keep: int, discard: int, length: int) -> None:
        """Remove ``discard`` tokens after the first ``keep``; move the rest of ``length`` down."""
        llama.llama_memory_seq_rm(self.memory, sequence, keep, keep + discard)
        llama.llama_memory_seq_add(self.memory, sequence, keep + discard, length, -discard)
