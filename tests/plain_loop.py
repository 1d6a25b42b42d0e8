"""The plainest use of llama.cpp: one sequence, one token at a time. The oracle for decoding."""

from __future__ import annotations

import ctypes
from pathlib import Path

import llama_cpp.llama_cpp as llama
import numpy as np

from jupyter_ollama.engine.constraint import TokenConstraint

# llama.cpp calls it as long as the process lives, so it is never freed.
_SILENCE = llama.llama_log_callback(lambda *_: None)


def quiet() -> object:
    """Silence llama.cpp; return the callback that it calls in place of writing."""
    llama.llama_log_set(_SILENCE, ctypes.c_void_p(0))
    return _SILENCE


class PlainLoop:
    """A model with a context of its own, by llama.cpp's simplest calls."""

    def __init__(self, path: Path, n_ctx: int = 2048) -> None:
        self._quiet = quiet()
        model_params = llama.llama_model_default_params()
        model_params.n_gpu_layers = 0
        self.model = llama.llama_model_load_from_file(str(path).encode(), model_params)
        params = llama.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_threads = params.n_threads_batch = 2
        self.context = llama.llama_init_from_model(self.model, params)
        vocab = llama.llama_model_get_vocab(self.model)
        self.n_vocab = llama.llama_vocab_n_tokens(vocab)

    def misses(
        self, prompt: list[int], answer: list[int], constraint: TokenConstraint | None = None
    ) -> list[float]:
        """Feed an answer token by token; return by how much each missed the best logit here.

        With a constraint the best of those it allows; tokens that it forces are no choice.
        """
        llama.llama_memory_clear(llama.llama_get_memory(self.context), True)
        misses = []
        feed = prompt
        forced: list[int] = []
        for token in answer:
            tokens = (llama.llama_token * len(feed))(*feed)
            assert (
                llama.llama_decode(self.context, llama.llama_batch_get_one(tokens, len(feed))) == 0
            )
            row = llama.llama_get_logits_ith(self.context, -1)
            logits = np.ctypeslib.as_array(row, (self.n_vocab,))
            if constraint and not forced:
                constraint.apply(logits)
            if forced:
                assert token == forced.pop(0)
            else:
                misses.append(float(logits.max() - logits[token]))
            if constraint:
                constraint.accept(token)
                forced = forced or constraint.forced()
            feed = [token]
        return misses

    def close(self) -> None:
        """Free the memory."""
        llama.llama_free(self.context)
        llama.llama_model_free(self.model)
