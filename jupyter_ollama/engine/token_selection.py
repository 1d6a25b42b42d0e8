"""From the logits of a step to the next tokens of each sequence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import OllamaError
from .drafter import Drafter
from .events import Logprob
from .llama_context import LlamaContext
from .llama_model import LlamaModel
from .sampling import largest
from .sequence import FinishReason, Sequence, StepOutput

Fail = Callable[[Sequence, int, str], None]
"""Takes a sequence that cannot continue, an HTTP status and a text."""


class TokenSelector:
    """Samples for all sequences of a step, verifies their drafts and applies their constraints."""

    def __init__(
        self,
        model: LlamaModel,
        threads: ThreadPoolExecutor,
        fail: Fail,
        drafter: Drafter | None = None,
    ) -> None:
        self._drafter = drafter
        self._model = model
        self._threads = threads
        self._fail = fail
        self.drafted: Counter[int] = Counter()
        self.accepted: Counter[int] = Counter()
        """Drafts that were checked, and those that were right, by the number of the adapters."""

    def advance(self, ready: list[Sequence], context: LlamaContext, rows: int) -> list[StepOutput]:
        """Give every sequence its next token, or several; return the results in their order."""
        logits = context.all_logits(rows)
        states = context.all_states(rows) if self._drafter and context.has_states else None
        chosen = self._choose(ready, logits)
        outputs: list[StepOutput] = []
        for sequence, tokens in zip(ready, chosen, strict=True):
            if isinstance(tokens, OllamaError):
                self._end_by_error(sequence, tokens)
                continue
            row, top_logprobs = sequence.step.row, sequence.params.top_logprobs
            if top_logprobs is not None:
                mine = logits[row : row + len(tokens)]
                sequence.logprobs += self._logprobs(top_logprobs, mine, tokens)
            if self._drafter and states is not None:
                self._drafter.observe(sequence, states[row : row + len(tokens)])
            self._accept_drafts(sequence, tokens, context)
            outputs += self._append_all(sequence, tokens)
        return outputs

    def _end_by_error(self, sequence: Sequence, error: OllamaError) -> None:
        sequence.over = True
        self._fail(sequence, error.status, error.message)

    def _append_all(self, sequence: Sequence, tokens: list[int]) -> list[StepOutput]:
        outputs: list[StepOutput] = []
        for token in tokens:
            outputs.append(self._append(sequence, token))
            if sequence.over:
                return outputs
        try:
            outputs += self._constrain(sequence, tokens[-1])
        except OllamaError as error:
            self._end_by_error(sequence, error)
        return outputs

    def _choose(
        self, ready: list[Sequence], logits: NDArray[np.float32]
    ) -> Iterable[list[int] | OllamaError]:
        is_plain = all(s.sampler.is_greedy and s.constraint is None for s in ready)
        if is_plain and len(ready) == len(logits):
            best = logits.argmax(axis=1)
            return [[int(best[s.step.row])] for s in ready]
        if len(ready) == 1 or all(s.sampler.is_quick and s.constraint is None for s in ready):
            # A choice among few tokens takes less time than handing it to another thread.
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

    def _accept_drafts(self, sequence: Sequence, tokens: list[int], context: LlamaContext) -> None:
        """Count the correct drafts as cached and remove the others from the KV cache."""
        sequence.lookup.record(tokens)
        cache, drafts = sequence.cache, sequence.step.drafts
        if not drafts:
            return
        right = len(tokens) - 1
        self.drafted[sequence.params.adapters] += len(drafts)
        self.accepted[sequence.params.adapters] += right
        if right < len(drafts):
            context.cut(cache.slot, cache.position(cache.cached + right))
        cache.cached += right
        sequence.step.drafts = []

    def _append(self, sequence: Sequence, token: int) -> StepOutput:
        """Append a token, which may end the sequence."""
        sequence.append(token)
        finish = None
        if self._model.is_end(token) and not sequence.score:
            finish = FinishReason.STOP
        elif sequence.generated >= sequence.params.num_predict:
            finish = FinishReason.LENGTH
        if finish:
            sequence.over = True
        return StepOutput(sequence, token, finish)

    def _constrain(self, sequence: Sequence, token: int) -> list[StepOutput]:
        """Advance the constraint, append the tokens it forces, and start computing its mask."""
        constraint = sequence.constraint
        if constraint is None:
            return []
        constraint.accept(token)
        outputs: list[StepOutput] = []
        for forced in constraint.forced():
            constraint.accept(forced)
            sequence.sampler.accept(forced)
            if sequence.params.top_logprobs is not None:
                certain = Logprob(self._model.piece(forced, special=True), 0.0)
                sequence.logprobs.append(certain)
            outputs.append(self._append(sequence, forced))
            if sequence.over:
                return outputs
        if constraint.is_needless:
            sequence.constraint = None
        elif constraint.is_over:
            sequence.over = True
            outputs.append(StepOutput(sequence, None, FinishReason.STOP))
        else:
            sequence.step.mask = self._threads.submit(constraint.prepare)
        return outputs


def _choose_run(sequence: Sequence, logits: NDArray[np.float32]) -> list[int] | OllamaError:
    """Choose a token, and one more for each correct draft."""
    step = sequence.step
    try:
        if step.mask is not None:
            step.mask.result()
    except OllamaError as error:
        return error
    tokens = []
    for offset in range(len(step.drafts) + 1):
        row = logits[step.row + offset]
        if sequence.params.top_logprobs is not None:
            row = row.copy()  # the sampler may overwrite the logits of forbidden tokens
        token = sequence.sampler.choose(row, sequence.constraint)
        sequence.sampler.accept(token)
        tokens.append(token)
        if offset == len(step.drafts) or token != step.drafts[offset]:
            break
    return tokens
