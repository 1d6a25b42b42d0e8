"""The plainest use of a head that predicts further tokens: one sequence, two contexts."""

from __future__ import annotations

import ctypes
from pathlib import Path

import llama_cpp.llama_cpp as llama
import llama_cpp.llama_cpp_ext as llama_ext
import numpy as np
from numpy.typing import NDArray

from jupyter_ollama.engine.llama_model import LlamaModel
from jupyter_ollama.layout.model_file import ModelFile

CELLS = 512


class PlainHead:
    """A model and its head, each with a context of its own."""

    def __init__(self, path: Path) -> None:
        self._model = LlamaModel(ModelFile(path), with_heads=True)
        self._width = self._model.n_embd_out
        self._trunk = self._context(llama.LLAMA_CONTEXT_TYPE_DEFAULT)
        self._head = self._context(llama.LLAMA_CONTEXT_TYPE_MTP)

    def _context(self, kind: int) -> int:
        params = llama.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = CELLS
        params.n_threads = params.n_threads_batch = 1
        params.ctx_type = kind
        context = llama.llama_init_from_model(self._model.pointer, params)
        llama_ext.llama_set_embeddings_nextn(context, True, False)
        return context

    def misses(self, tokens: list[int], prompt: int, drafts: list[int]) -> list[float]:
        """Draft after ``tokens``, of which ``prompt`` were given and the others generated.

        Returns by how much each of the ``drafts`` missed the best logit of the head.
        """
        for context in (self._trunk, self._head):
            llama.llama_memory_clear(llama.llama_get_memory(context), True)
        self._decode(self._trunk, tokens[:-1], 0, None)
        states = [self._state(self._trunk, i) for i in range(prompt - 1, len(tokens) - 1)]
        feed, position = tokens[prompt:], prompt
        misses = []
        for draft in drafts:
            self._decode(self._head, feed, position, np.stack(states))
            row = llama.llama_get_logits_ith(self._head, len(feed) - 1)
            logits = np.ctypeslib.as_array(row, (self._model.n_vocab,))
            misses.append(float(logits.max() - logits[draft]))
            states = [self._state(self._head, len(feed) - 1)]
            feed, position = [draft], position + len(feed)
        return misses

    def _state(self, context: int, row: int) -> NDArray[np.float32]:
        state = llama_ext.llama_get_embeddings_nextn_ith(context, row)
        return np.ctypeslib.as_array(state, (self._width,)).copy()

    @staticmethod
    def _decode(
        context: int, tokens: list[int], position: int, states: NDArray[np.float32] | None
    ) -> None:
        batch = llama.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i] = token, position + i
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
            batch.logits[i] = i == len(tokens) - 1
        if states is not None:
            batch.embd = ctypes.cast(states.ctypes.data, ctypes.POINTER(ctypes.c_float))
        assert llama.llama_decode(context, batch) == 0
        batch.embd = None
        llama.llama_batch_free(batch)

    def close(self) -> None:
        """Free the memory."""
        llama.llama_free(self._head)
        llama.llama_free(self._trunk)
        llama.llama_model_free(self._model.pointer)
