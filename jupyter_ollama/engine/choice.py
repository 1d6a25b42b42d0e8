"""From the logits of a step to the tokens that each sequence goes on with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import OllamaError
from .llama_context import LlamaContext
from .llama_model import LlamaModel
from .output import Told
from .protocol import Logprob
from .sampling import largest
from .sequence import Sequence

Fail = Callable[[Sequence, int, str], None]
"""Takes a sequence that cannot go on, an HTTP status and a text."""


class Choice:
    """Samples for all sequences of a step, checks their drafts and obeys their constraints."""

    def __init__(self, model: LlamaModel, threads: ThreadPoolExecutor, fail: Fail) -> None:
        self._model = model
        self._threads = threads
        self._fail = fail

    def advance(self, ready: list[Sequence], context: LlamaContext, rows: int) -> Told:
        """Give every sequence its next token, or several; return what there is to tell."""
        logits = context.all_logits(rows)
        chosen = self._choose(ready, logits)
        told: Told = []
        for sequence, tokens in zip(ready, chosen, strict=True):
            if isinstance(tokens, OllamaError):
                self._give_up(sequence, tokens)
            else:
                if sequence.top_logprobs is not None:
                    mine = logits[sequence.row : sequence.row + len(tokens)]
                    sequence.logprobs += self._logprobs(sequence.top_logprobs, mine, tokens)
                self._keep(sequence, tokens, context)
                told += self._book_all(sequence, tokens)
        return told

    def _give_up(self, sequence: Sequence, error: OllamaError) -> None:
        sequence.over = True
        self._fail(sequence, error.status, error.message)

    def _book_all(self, sequence: Sequence, tokens: list[int]) -> Told:
        told: Told = []
        for token in tokens:
            told.append((sequence, token, self._book(sequence, token)))
            if sequence.over:
                return told
        try:
            told += self._constrain(sequence, tokens[-1])
        except OllamaError as error:
            self._give_up(sequence, error)
        return told

    def _choose(
        self, ready: list[Sequence], logits: NDArray[np.float32]
    ) -> Iterable[list[int] | OllamaError]:
        is_plain = all(s.sampler.is_greedy and s.constraint is None for s in ready)
        if is_plain and len(ready) == len(logits):
            best = logits.argmax(axis=1)
            return [[int(best[s.row])] for s in ready]
        if len(ready) == 1 or all(s.sampler.is_quick and s.constraint is None for s in ready):
            # Handing a choice among few tokens to another thread takes longer than making it.
            return [_choose_run(sequence, logits) for sequence in ready]
        return self._threads.map(lambda s: _choose_run(s, logits), ready)

    def _logprobs(
        self, count: int, logits: NDArray[np.float32], tokens: list[int]
    ) -> list[Logprob]:
        """Return the log-probabilities of tokens, and of the likeliest ``count`` in their place."""
        found = []
        for row, token in zip(logits, tokens, strict=True):
            most = row.max()
            logs = row - (most + np.log(np.exp(row - most).sum()))
            best = largest(row, count) if count else np.empty(0, np.int32)
            best = best[np.argsort(-logs[best], kind="stable")][:count]
            top = [self._logprob(int(other), logs) for other in best]
            found.append(msgspec.structs.replace(self._logprob(token, logs), top=top))
        return found

    def _logprob(self, token: int, logs: NDArray[np.float32]) -> Logprob:
        return Logprob(self._model.piece(token, special=True), float(logs[token]))

    def _keep(self, sequence: Sequence, tokens: list[int], context: LlamaContext) -> None:
        """Book the drafts that were right and drop the others from the KV cache."""
        sequence.lookup.record(tokens)
        if not sequence.drafts:
            return
        right = len(tokens) - 1
        if right < len(sequence.drafts):
            context.cut(sequence.slot, sequence.position(sequence.cached + right))
        sequence.cached += right
        sequence.drafts = []

    def _book(self, sequence: Sequence, token: int) -> str:
        """Append a token; return why the sequence ends with it, or ""."""
        sequence.append(token)
        if self._model.is_end(token) and not sequence.score:
            reason = "stop"
        elif sequence.generated >= sequence.num_predict:
            reason = "length"
        else:
            return ""
        sequence.over = True
        return reason

    def _constrain(self, sequence: Sequence, token: int) -> Told:
        """Tell the constraint; add what must follow and begin with the next mask."""
        constraint = sequence.constraint
        if constraint is None:
            return []
        constraint.accept(token)
        told: Told = []
        for forced in constraint.forced():
            constraint.accept(forced)
            sequence.sampler.accept(forced)
            if sequence.top_logprobs is not None:
                certain = Logprob(self._model.piece(forced, special=True), 0.0)
                sequence.logprobs.append(certain)
            told.append((sequence, forced, self._book(sequence, forced)))
            if sequence.over:
                return told
        if constraint.is_over:
            sequence.over = True
            told.append((sequence, -1, "stop"))
        else:
            sequence.mask = self._threads.submit(constraint.prepare)
        return told


def _choose_run(sequence: Sequence, logits: NDArray[np.float32]) -> list[int] | OllamaError:
    """Choose a token, and one more for each draft that was right."""
    try:
        if sequence.mask is not None:
            sequence.mask.result()
    except OllamaError as error:
        return error
    tokens = []
    for offset in range(len(sequence.drafts) + 1):
        row = logits[sequence.row + offset]
        if sequence.top_logprobs is not None:
            row = row.copy()  # the sampler may overwrite what a constraint forbids
        token = sequence.sampler.choose(row, sequence.constraint)
        sequence.sampler.accept(token)
        tokens.append(token)
        if offset == len(sequence.drafts) or token != sequence.drafts[offset]:
            break
    return tokens
