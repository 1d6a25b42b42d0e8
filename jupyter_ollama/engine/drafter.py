"""Speculation with a draft model: a small model with the same vocabulary says what may follow.

It drafts for all streams in one batch a token. Its KV cache holds a prefix of each of them, to
which it is cut back when a draft was refused or the context was shifted. How far it drafts, and
whether at all, is the business of DraftPace.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import NamedTuple

import llama_cpp.llama_cpp as llama

from .llama_context import Batch, LlamaContext
from .llama_model import LlamaModel, LoadError
from .pace import RELAX, DraftPace
from .sequence import Sequence

FIRST_RATE = 0.75
"""How often a drafted token is right, as long as nothing is known."""

NEAR = 16
"""Tokens that are read along with the first step; more are read ahead, in chunks."""

PLAIN_EVERY = 16
"""One step of so many goes without drafts, to see what they save."""

PADDING = 128
"""Tokens by which vocabularies may differ in size: some are padded."""


@dataclass(slots=True, eq=False)
class Track:
    """What the draft model knows of a sequence.

    Its KV cache has the tokens ``held`` in ``slot``. ``drafts`` followed the first ``start`` tokens
    of the sequence, ``rate`` is how often they are right, ``waited`` the steps since.
    """

    slot: int
    rate: float
    waited: int
    held: list[int] = field(default_factory=list)
    start: int = 0
    drafts: list[int] = field(default_factory=list)


class Wish(NamedTuple):
    """A sequence that may have up to ``room`` drafts."""

    sequence: Sequence
    room: int


Task = tuple[Sequence, Track, int]
"""A sequence, what is known of it, and how many tokens to draft for it."""


class Drafter:
    """The draft model beside the batch loop."""

    def __init__(self, model: LlamaModel, context: LlamaContext, n_vocab: int) -> None:
        """``n_vocab`` is the size of the vocabulary that drafts are for."""
        self._model = model
        self._context = context
        self._n_vocab = min(n_vocab, model.n_vocab)
        self._batch = Batch(context.batch)
        self._tracks: dict[Sequence, Track] = {}
        self._slots = list(range(context.max_sequences))
        self._rate = FIRST_RATE
        self._rounds = 0
        self.pace = DraftPace(self._warm_up(1), self._warm_up(min(32, self._batch.capacity)))

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
        """Drop what is known of a sequence that has left the batch loop."""
        track = self._tracks.pop(sequence, None)
        if track:
            self._context.forget(track.slot)
            self._slots.append(track.slot)

    def draft(self, wishes: list[Wish], streams: int, worth: float, price: float) -> None:
        """Give sequences their drafts; they are among ``streams`` that run.

        For ``worth`` and ``price`` see DraftPace.
        """
        self._rounds += 1
        if self._rounds % PLAIN_EVERY == 0:
            return
        wanted = [
            (wish.sequence, track, count)
            for wish in wishes
            if (track := self._follow(wish.sequence))
            and (count := self._count(wish, track, len(wishes), worth, price))
        ]
        self._read_ahead(wanted, worth * streams)
        self._propose(self._near(wanted))

    def _follow(self, sequence: Sequence) -> Track | None:
        """Hold what the sequence and the KV cache have in common, learn from what was chosen."""
        track = self._tracks.get(sequence)
        if track is None:
            if not self._slots:
                return None
            track = Track(self._slots.pop(), self._rate, sequence.generated)
            self._tracks[sequence] = track
        tokens, held = sequence.tokens, track.held
        for drafted, token in zip(track.drafts, tokens[track.start :], strict=False):
            track.rate += ((drafted == token) - track.rate) * 0.1
            self._rate += ((drafted == token) - self._rate) * 0.02
            if drafted != token:
                break
        track.drafts = []
        # The newest token is read anew, whatever is held: its logits are wanted.
        most = min(len(held), len(tokens) - 1)
        sure = min(track.start, most)
        if held[:sure] != tokens[:sure]:
            sure = 0
        common = next((i for i in range(sure, most) if held[i] != tokens[i]), most)
        if common < len(held):
            self._context.cut(track.slot, common)
            del held[common:]
        return track

    def _count(self, wish: Wish, track: Track, sequences: int, worth: float, price: float) -> int:
        """Return how many tokens to draft; 0 also where there is no room, or it is too late."""
        sequence = wish.sequence
        room = min(wish.room, sequence.draft_num_predict)
        behind = _behind(sequence, track)
        count, speed = self.pace.length(track.rate, sequences, worth, price, room)
        track.waited += 1
        if not count:
            self._relax(track, sequences)
            return 0
        saving = worth * (1 - 1 / speed)
        if behind > NEAR and not self.pace.affords(behind, track.waited, saving):
            return 0
        if any(not 0 <= token < self._n_vocab for token in sequence.tokens[-behind:]):
            return 0
        held = sum(len(other.held) + NEAR for other in self._tracks.values())
        return count if held + behind + room <= self._context.cells else 0

    def _relax(self, track: Track, sequences: int) -> None:
        self.pace.relax(sequences)
        track.rate += (FIRST_RATE - track.rate) * RELAX
        self._rate += (FIRST_RATE - self._rate) * RELAX

    def _read_ahead(self, wanted: list[Task], seconds: float) -> None:
        """Read a chunk of what lies far behind, in about so many seconds."""
        self._batch.clear()
        room = min(self.pace.chunk(seconds), self._batch.capacity)
        for sequence, track, _ in wanted:
            behind = _behind(sequence, track)
            if behind > NEAR and self._batch.size < room:
                at = len(track.held)
                count = min(behind - 1, room - self._batch.size)
                self._batch.add(sequence.tokens[at : at + count], at, track.slot, outputs="none")
                track.held += sequence.tokens[at : at + count]
        if self._batch.size:
            start = time.perf_counter()
            if self._decode():
                llama.llama_synchronize(self._context.pointer)
                self.pace.record_read(time.perf_counter() - start, self._batch.size)

    def _near(self, wanted: list[Task]) -> list[Task]:
        """Return those of whom a batch can hold all that is left to read."""
        near, room = [], self._batch.capacity
        for sequence, track, count in wanted:
            behind = _behind(sequence, track)
            if behind <= min(NEAR, room):
                near.append((sequence, track, count))
                room -= behind
        return near

    def _propose(self, going: list[Task]) -> None:
        """Draft for all of them, a token in one batch after the other."""
        for sequence, track, _ in going:
            track.start, track.waited = len(sequence.tokens), 0
        while going:
            start = time.perf_counter()
            self._batch.clear()
            for sequence, track, _ in going:
                tokens = track.drafts[-1:] or sequence.tokens[len(track.held) :]
                self._batch.add(tokens, len(track.held), track.slot, outputs="last")
                track.held += tokens
            if not self._decode():
                break
            logits = self._context.all_logits(len(going))[:, : self._n_vocab]
            for (sequence, track, _), token in zip(going, logits.argmax(axis=1), strict=True):
                track.drafts.append(int(token))
                sequence.drafts.append(int(token))
            if self._batch.size <= 2 * len(going):
                self.pace.record_step(time.perf_counter() - start, len(going))
            going = [
                (sequence, track, count)
                for sequence, track, count in going
                if len(track.drafts) < count and not self._model.is_end(track.drafts[-1])
            ]

    def _decode(self) -> bool:
        """Run the batch; where that fails nothing is held any more."""
        if self._context.decode(self._batch) == 0:
            return True
        self._context.forget(-1)
        for track in self._tracks.values():
            track.held = []
        return False


def _behind(sequence: Sequence, track: Track) -> int:
    """Tokens of a sequence that the draft model has not read."""
    return len(sequence.tokens) - len(track.held)


def check_vocabulary(model: LlamaModel, draft: LlamaModel) -> None:
    """Raise LoadError unless the tokens of a draft model mean what those of the model do."""
    shared = min(model.n_vocab, draft.n_vocab)
    vocabularies = model.vocab, draft.vocab
    if abs(model.n_vocab - draft.n_vocab) > PADDING:
        difference = f"{draft.n_vocab} tokens, the model {model.n_vocab}"
    elif (draft.bos, draft.eos) != (model.bos, model.eos):
        difference = (
            f"BOS and EOS {draft.bos} and {draft.eos}, the model {model.bos} and {model.eos}"
        )
    else:
        texts = (
            tuple(llama.llama_vocab_get_text(vocab, token) for vocab in vocabularies)
            for token in range(shared)
        )
        other = next((token for token, (ours, its) in enumerate(texts) if ours != its), None)
        if other is None:
            return
        difference = f"another token {other}"
    raise LoadError(f"the draft model does not have the model's vocabulary: it has {difference}")
