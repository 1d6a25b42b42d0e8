"""Choosing the next token: greedy by argmax, all else by llama.cpp's sampler chain."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import llama_cpp.llama_cpp as llama

from ..options import Options
from .llama_context import LlamaContext
from .llama_model import LlamaModel


class Sampler:
    """The sampler of one sequence. Safe to run beside those of other sequences."""

    def __init__(self, model: LlamaModel, options: Options, prompt: Sequence[int]) -> None:
        """Build from options; ``prompt`` counts for the penalties as upstream has it."""
        penalties = (options.repeat_penalty, options.presence_penalty, options.frequency_penalty)
        last_n = options.repeat_last_n
        last_n = options.num_ctx if last_n < 0 else min(last_n, options.num_ctx)
        penalized = penalties != (1.0, 0.0, 0.0) and last_n > 0
        self._chain = None
        if options.temperature <= 0 and not penalized:
            return
        self._chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
        weakref.finalize(self, llama.llama_sampler_free, self._chain)
        if penalized:
            self._add(
                llama.llama_sampler_init_penalties(
                    model.n_vocab,
                    last_n,
                    max(options.repeat_penalty, 1e-6),
                    options.frequency_penalty,
                    options.presence_penalty,
                )
            )
        self._add_choice(model, options)
        for token in prompt[-last_n:] if penalized else ():
            llama.llama_sampler_accept(self._chain, token)

    def _add(self, sampler: llama.llama_sampler_p) -> None:
        llama.llama_sampler_chain_add(self._chain, sampler)

    def _add_choice(self, model: LlamaModel, options: Options) -> None:
        seed = options.seed & 0xFFFFFFFF  # -1 becomes llama.cpp's "take a random one"
        tau, eta = options.mirostat_tau, options.mirostat_eta
        if options.temperature <= 0:
            self._add(llama.llama_sampler_init_greedy())
            return
        if options.mirostat in (1, 2):
            self._add(llama.llama_sampler_init_temp(options.temperature))
            if options.mirostat == 1:
                self._add(llama.llama_sampler_init_mirostat(model.n_vocab, seed, tau, eta, 100))
            else:
                self._add(llama.llama_sampler_init_mirostat_v2(seed, tau, eta))
            return
        if options.top_k > 0:
            self._add(llama.llama_sampler_init_top_k(options.top_k))
        if options.typical_p < 1:
            self._add(llama.llama_sampler_init_typical(options.typical_p, 1))
        if options.top_p < 1:
            self._add(llama.llama_sampler_init_top_p(options.top_p, 1))
        if options.min_p > 0:
            self._add(llama.llama_sampler_init_min_p(options.min_p, 1))
        self._add(llama.llama_sampler_init_temp(options.temperature))
        self._add(llama.llama_sampler_init_dist(seed))

    @property
    def is_greedy(self) -> bool:
        """True if the choice is the largest logit and needs no candidates."""
        return self._chain is None

    def sample(self, context: LlamaContext, row: int) -> int:
        """Choose a token from a row of the last decode."""
        if self._chain is None:
            return int(context.logits(row).argmax())
        return int(llama.llama_sampler_sample(self._chain, context.pointer, row))
