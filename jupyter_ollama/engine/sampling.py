"""Choosing the next token: greedy by argmax, otherwise by llama.cpp's samplers on few candidates.

llama.cpp's samplers take a list of candidates. Building it for a whole vocabulary takes longer than
the rest of a step, so it has only the tokens that a top-k sampler at the head of the chain would
keep. The choice is the same as over the whole vocabulary.
"""

from __future__ import annotations

import ctypes
import weakref
from collections import Counter, deque
from collections.abc import Sequence
from typing import Protocol

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from ..options import Options
from .llama_model import LlamaModel

CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)], align=True)
"""A llama_token_data."""

ROWS = 64
"""The parts into which a row of logits is folded to find its largest values."""


class Allowed(Protocol):
    """The tokens that may come next."""

    def allows(self, token: int) -> bool:
        """Return whether a token may come next."""

    def apply(self, logits: NDArray[np.float32]) -> None:
        """Set the logits (n_vocab float32) of the other tokens to -inf, in place."""


class Sampler:
    """The sampler of one sequence. May run in parallel to those of other sequences."""

    def __init__(self, model: LlamaModel, options: Options, prompt: Sequence[int]) -> None:
        """Build from options; ``prompt`` counts for the penalties as it does upstream."""
        penalties = (options.repeat_penalty, options.presence_penalty, options.frequency_penalty)
        last_n = _window(options.repeat_last_n, options) if penalties != (1.0, 0.0, 0.0) else 0
        dry_last_n = _window(options.dry_penalty_last_n, options) if options.dry_multiplier else 0
        self._recent: deque[int] = deque()
        self._last_n = max(last_n, dry_last_n)
        self._counts: Counter[int] = Counter()
        self._chain = None
        self._count = _count(options)
        known = {t: bias for t, bias in options.logit_bias.items() if t < model.n_vocab}
        self._biased = np.fromiter(known, np.intp, len(known))
        self._biases = np.fromiter(known.values(), np.float32, len(known))
        if _is_greedy(options) and not self._last_n:
            return
        self._chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
        weakref.finalize(self, llama.llama_sampler_free, self._chain)
        if last_n:
            self._add(
                llama.llama_sampler_init_penalties(
                    model.n_vocab,
                    last_n,
                    max(options.repeat_penalty, 1e-6),
                    options.frequency_penalty,
                    options.presence_penalty,
                )
            )
        if dry_last_n:
            self._add(_dry(model, options, dry_last_n))
        self._add_choice(model, options)
        for token in prompt[-self._last_n :] if self._last_n else ():
            if token >= 0:  # negative numbers stand for images
                self.accept(token)

    def _add(self, sampler: llama.llama_sampler_p) -> None:
        llama.llama_sampler_chain_add(self._chain, sampler)

    def _add_choice(self, model: LlamaModel, options: Options) -> None:
        seed = options.seed & 0xFFFFFFFF  # -1 becomes llama.cpp's number for a random seed
        tau, eta = options.mirostat_tau, options.mirostat_eta
        if _is_greedy(options):
            self._add(llama.llama_sampler_init_greedy())
            return
        if options.mirostat in (1, 2):
            self._add(llama.llama_sampler_init_temp(options.temperature))
            if options.mirostat == 1:
                self._add(llama.llama_sampler_init_mirostat(model.n_vocab, seed, tau, eta, 100))
            else:
                self._add(llama.llama_sampler_init_mirostat_v2(seed, tau, eta))
            return
        if options.top_n_sigma > 0:
            self._add(llama.llama_sampler_init_top_n_sigma(options.top_n_sigma))
        if options.top_k > 0:
            self._add(llama.llama_sampler_init_top_k(options.top_k))
        if options.typical_p < 1:
            self._add(llama.llama_sampler_init_typical(options.typical_p, 1))
        if options.top_p < 1:
            self._add(llama.llama_sampler_init_top_p(options.top_p, 1))
        if options.min_p > 0:
            self._add(llama.llama_sampler_init_min_p(options.min_p, 1))
        if options.xtc_probability > 0:
            probability, threshold = options.xtc_probability, options.xtc_threshold
            self._add(llama.llama_sampler_init_xtc(probability, threshold, 1, seed))
        self._add(llama.llama_sampler_init_temp(options.temperature))
        self._add(llama.llama_sampler_init_dist(seed))

    @property
    def is_greedy(self) -> bool:
        """True if the choice is the largest logit and needs no candidates."""
        return self._chain is None and not self._biased.size

    @property
    def is_quick(self) -> bool:
        """True if the choice is among few candidates."""
        return self._count > 0

    def accept(self, token: int) -> None:
        """Count the next token, chosen here or not, for the penalties."""
        if self._chain is not None:
            llama.llama_sampler_accept(self._chain, token)
        if self._last_n:
            self._recent.append(token)
            self._counts[token] += 1
            if len(self._recent) > self._last_n:
                first = self._recent.popleft()
                self._counts[first] -= 1
                if not self._counts[first]:
                    del self._counts[first]

    def choose(self, logits: NDArray[np.float32], constraint: Allowed | None = None) -> int:
        """Choose a token by its logits (n_vocab), one that ``constraint`` allows.

        The logits must be writable; those of forbidden tokens may be overwritten.
        """
        if self._biased.size:
            logits = logits.copy()
            logits[self._biased] += self._biases
        if constraint is not None and not self._is_settled(logits, constraint):
            constraint.apply(logits)
        if self._chain is None:
            return int(logits.argmax())
        ids = self._candidates(logits)
        candidates = np.empty(ids.size, CANDIDATE)
        candidates["id"] = ids
        candidates["logit"] = logits[ids]
        candidates["p"] = 0
        array = llama.llama_token_data_array(
            data=ctypes.cast(candidates.ctypes.data, llama.llama_token_data_p),
            size=ids.size,
            selected=-1,
            sorted=False,
        )
        llama.llama_sampler_apply(self._chain, ctypes.byref(array))
        # The samplers may have sorted and shortened the array, in its own memory.
        return int(array.data[array.selected].id)

    def _is_settled(self, logits: NDArray[np.float32], constraint: Allowed) -> bool:
        """True if the greedy choice is allowed, which saves a pass over the vocabulary."""
        return self._chain is None and constraint.allows(int(logits.argmax()))

    def _candidates(self, logits: NDArray[np.float32]) -> NDArray[np.int32]:
        """Return, in ascending order, the tokens that can be chosen."""
        if self._count <= 0:
            return np.arange(logits.size, dtype=np.int32)
        if not self._counts:
            return largest(logits, self._count)
        # Penalties and DRY change recent tokens only: the others keep their order.
        recent = np.fromiter(self._counts, np.int32, len(self._counts))
        kept = logits[recent]
        logits[recent] = -np.inf
        others = largest(logits, self._count)
        logits[recent] = kept
        return np.sort(np.concatenate([others, recent]))


def _window(last_n: int, options: Options) -> int:
    """Return how many of the last tokens count; a negative number stands for all."""
    return options.num_ctx if last_n < 0 else min(last_n, options.num_ctx)


def _is_greedy(options: Options) -> bool:
    """True if the largest logit wins. XTC removes the largest at any temperature."""
    has_xtc = options.xtc_probability > 0 and options.mirostat not in (1, 2)
    return options.temperature <= 0 and not has_xtc


def _count(options: Options) -> int:
    """Return how many of the largest logits can be chosen or affect the choice; 0 means all."""
    if _is_greedy(options):
        return 1
    # These use the whole distribution.
    return 0 if options.mirostat in (1, 2) or options.top_n_sigma > 0 else options.top_k


def _dry(model: LlamaModel, options: Options, last_n: int) -> llama.llama_sampler_p:
    breakers = [text.encode() for text in options.dry_sequence_breakers]
    return llama.llama_sampler_init_dry(
        model.vocab,
        options.dry_multiplier,
        options.dry_base,
        options.dry_allowed_length,
        last_n,
        (ctypes.c_char_p * len(breakers))(*breakers),
        len(breakers),
    )


def largest(logits: NDArray[np.float32], count: int) -> NDArray[np.int32]:
    """Return the ids, in ascending order, of the ``count`` largest logits and of a few others.

    The row is folded into columns. The count-th largest of their maxima is a bound that at least
    ``count`` logits reach, and only columns that reach it have any.
    """
    if count == 1:
        return np.array([logits.argmax()], np.int32)
    columns = logits.size // ROWS
    if count >= columns:
        return np.arange(logits.size, dtype=np.int32)
    folded = logits[: ROWS * columns].reshape(ROWS, columns)
    maxima = folded.max(axis=0)
    bound = np.partition(maxima, columns - count)[columns - count]
    if not bound > -np.inf:  # a constraint allows fewer than count
        return np.flatnonzero(logits > -np.inf).astype(np.int32)
    reaching = np.flatnonzero(maxima >= bound)
    row, column = np.nonzero(folded[:, reaching] >= bound)
    ids = row * columns + reaching[column]
    rest = np.flatnonzero(logits[ROWS * columns :] >= bound) + ROWS * columns
    return np.concatenate([ids, rest]).astype(np.int32)
