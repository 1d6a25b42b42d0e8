"""Speculative decoding beside the batch loop (Leviathan et al. 2023, Chen et al. 2023).

A drafter proposes the next tokens of all streams in one batch a token; the model verifies them in
its next step. The drafter's KV cache holds a part of each stream and is cut back when a draft was
refused or the context was shifted. DraftCosts decides how many tokens to draft, if any.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .batch import Batch
from .llama_context import LlamaContext
from .llama_model import LlamaModel
from .sequence import Sequence
from .step_costs import RELAX, DraftCosts

FIRST_RATE = 0.75
"""The assumed fraction of correct drafts before any was verified."""

NEAR = 16
"""Unread tokens that are read together with the first step; reading more must pay."""

PLAIN_EVERY = 16
"""One step of so many has no drafts, to measure their saving."""


@dataclass(slots=True, eq=False)
class Track:
    """The drafter's state of a sequence.

    The KV cache has the tokens ``held`` in ``slot``, of which the first is number ``first`` of the
    sequence. ``drafts`` followed the first ``start`` tokens of the sequence, ``rate`` is the
    fraction of them that is right, ``waited`` the steps since, ``rounds`` the number of steps in
    which it could be drafted. ``row`` is the output row of its last token in the batch.
    """

    slot: int
    rate: float
    waited: int
    first: int = 0
    held: list[int] = field(default_factory=list)
    start: int = 0
    drafts: list[int] = field(default_factory=list)
    row: int = -1
    rounds: int = 0

    @property
    def end(self) -> int:
        """The number of the first token that the KV cache does not have."""
        return self.first + len(self.held)


class DraftRequest(NamedTuple):
    """A sequence that may get up to ``limit`` drafts."""

    sequence: Sequence
    limit: int


Task = tuple[Sequence, Track, int]
"""A sequence, its track, and how many tokens to draft for it."""


class Drafter(ABC):
    """Drafts by a model in a context of its own, beside the batch loop."""

    reads_images = False
    """Whether it can draft for a sequence with images."""

    def __init__(
        self, model: LlamaModel, context: LlamaContext, n_vocab: int, width: int = 0
    ) -> None:
        """``n_vocab`` is the size of the vocabulary that is drafted for.

        With a ``width`` the context takes a hidden state of that width beside each token.
        """
        self._model = model
        self._context = context
        self._n_vocab = min(n_vocab, model.n_vocab)
        self._batch = Batch(context.batch, width)
        self._tracks: dict[Sequence, Track] = {}
        self._slots = list(range(context.max_sequences))
        self._rate = FIRST_RATE
        self._rounds = 0
        self.is_solo = False
        """Whether drafts must depend only on the sequence, which runs alone, and on the costs that
        were measured at the load."""
        costs = self._warm_up(1), self._warm_up(min(32, self._batch.capacity))
        self.costs, self._first_costs = DraftCosts(*costs), DraftCosts(*costs)

    def _warm_up(self, count: int) -> float:
        """Decode so many tokens a few times, and return seconds a token."""
        seconds = 1.0
        for _ in range(3):
            self._batch.clear()
            self._batch.add([self._model.filler_token] * count, 0, 0, outputs="last")
            start = time.perf_counter()
            self._context.decode(self._batch)
            self._context.logits(count - 1)
            seconds = min(seconds, (time.perf_counter() - start) / count)
            self._context.forget(0)
        return seconds

    def forget(self, sequence: Sequence) -> None:
        """Forget a sequence that has left the batch loop."""
        track = self._tracks.pop(sequence, None)
        if track:
            self._context.forget(track.slot)
            self._slots.append(track.slot)

    def draft(self, requests: list[DraftRequest], streams: int, worth: float, price: float) -> None:
        """Give sequences their drafts; they are among ``streams`` that run.

        For ``worth`` and ``price`` see DraftCosts.
        """
        if self._is_plain_round(requests):
            return
        tasks = [
            (one.sequence, track, count)
            for one in requests
            if (track := self._follow(one.sequence))
            and (count := self._count(one, track, len(requests), worth, price))
        ]
        self._read_ahead(tasks, worth * streams)
        self._propose(self._near(tasks))

    def _is_plain_round(self, requests: list[DraftRequest]) -> bool:
        if not self.is_solo:
            self._rounds += 1
            return self._rounds % PLAIN_EVERY == 0
        tracks = [self._tracks[one.sequence] for one in requests if one.sequence in self._tracks]
        for track in tracks:
            track.rounds += 1
        return any(track.rounds % PLAIN_EVERY == 0 for track in tracks)

    @property
    def _applied_costs(self) -> DraftCosts:
        """The costs that decide how many tokens to draft."""
        return self._first_costs if self.is_solo else self.costs

    @abstractmethod
    def observe(self, sequence: Sequence, states: NDArray[np.float32]) -> None:
        """Take the hidden states (tokens, width) that a sequence's newest tokens were chosen from.

        They are valid until the next decode.
        """

    @abstractmethod
    def _follow(self, sequence: Sequence) -> Track | None:
        """Cut the KV cache to its common prefix with the sequence; None without a free slot."""

    def _make_track(self, sequence: Sequence) -> Track | None:
        """Begin to follow a sequence; None without a free slot."""
        if not self._slots:
            return None
        rate = FIRST_RATE if self.is_solo else self._rate
        track = self._tracks[sequence] = Track(self._slots.pop(), rate, sequence.generated)
        return track

    def _learn(self, sequence: Sequence, track: Track) -> None:
        """Learn which drafts were right, and forget them."""
        for drafted, token in zip(track.drafts, sequence.tokens[track.start :], strict=False):
            track.rate += ((drafted == token) - track.rate) * 0.1
            self._rate += ((drafted == token) - self._rate) * 0.02
            if drafted != token:
                break
        track.drafts = []

    def _cut(self, sequence: Sequence, track: Track, end: int) -> None:
        """Keep only the tokens of a sequence before number ``end``."""
        if end < track.end:
            self._context.cut(track.slot, sequence.cache.position(end))
            del track.held[end - track.first :]

    def _count(
        self, request: DraftRequest, track: Track, sequences: int, worth: float, price: float
    ) -> int:
        """Return how many tokens to draft; 0 if the limit is 0 or too much is unread."""
        sequence = request.sequence
        limit = min(request.limit, sequence.params.draft_num_predict)
        behind = len(sequence.tokens) - track.end
        costs = self._applied_costs
        count, speed = costs.length(track.rate, sequences, worth, price, limit)
        track.waited += 1
        if not count:
            self._relax(track, sequences)
            return 0
        saving = worth * (1 - 1 / speed)
        if behind > NEAR and not costs.affords(behind, track.waited, saving):
            return 0
        if any(not 0 <= token < self._n_vocab for token in sequence.tokens[track.end :]):
            return 0
        held = sum(len(other.held) + NEAR for other in self._tracks.values())
        return count if held + behind + limit <= self._context.cells else 0

    def _relax(self, track: Track, sequences: int) -> None:
        self.costs.relax(sequences)
        track.rate += (FIRST_RATE - track.rate) * RELAX
        self._rate += (FIRST_RATE - self._rate) * RELAX

    @abstractmethod
    def _read_ahead(self, tasks: list[Task], seconds: float) -> None:
        """Read a part of the tokens that are far behind, in about so many seconds."""

    @abstractmethod
    def _near(self, tasks: list[Task]) -> list[Task]:
        """Return the tasks of which a batch holds all unread tokens."""

    def _put(self, sequence: Sequence, track: Track, tokens: list[int]) -> None:
        """Put the next tokens into the batch; logits come with the last one."""
        position = sequence.cache.position(track.end)
        track.row = self._batch.add(tokens, position, track.slot, outputs="last")
        track.held += tokens

    @abstractmethod
    def _stepped(self, tracks: list[Track]) -> None:
        """Take the results of a step besides logits."""

    def _propose(self, going: list[Task]) -> None:
        """Draft for all tasks, a token in one batch after the other."""
        for sequence, track, _ in going:
            track.start, track.waited = len(sequence.tokens), 0
        while going:
            start = time.perf_counter()
            self._batch.clear()
            for sequence, track, _ in going:
                self._put(sequence, track, track.drafts[-1:] or sequence.tokens[track.end :])
            if not self._decode():
                break
            self._stepped([track for _, track, _ in going])
            logits = self._context.all_logits(len(going))[:, : self._n_vocab]
            for (sequence, track, _), token in zip(going, logits.argmax(axis=1), strict=True):
                track.drafts.append(int(token))
                sequence.step.drafts.append(int(token))
            if self._batch.size <= 2 * len(going):
                self.costs.record_step(time.perf_counter() - start, len(going))
            going = [
                (sequence, track, count)
                for sequence, track, count in going
                if len(track.drafts) < count and not self._model.is_end(track.drafts[-1])
            ]

    def _decode(self) -> bool:
        """Run the batch; if that fails the KV cache is emptied."""
        if self._context.decode(self._batch) == 0:
            return True
        self._context.forget(-1)
        for track in self._tracks.values():
            track.held = []
        return False
