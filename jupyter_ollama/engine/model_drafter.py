"""Speculative decoding with a draft model: a small model with the same vocabulary."""

from __future__ import annotations

import time

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from .drafter import NEAR, Drafter, Task, Track
from .llama_model import LlamaModel, LoadError
from .sequence import Sequence

PADDING = 128
"""Tokens by which vocabularies may differ in size: some are padded."""


class ModelDrafter(Drafter):
    """The draft model beside the batch loop. Its KV cache holds a prefix of each sequence."""

    def observe(self, sequence: Sequence, states: NDArray[np.float32]) -> None:
        """Ignore them: a draft model has its own hidden states."""

    def _follow(self, sequence: Sequence) -> Track | None:
        track = self._tracks.get(sequence) or self._make_track(sequence)
        if track is None:
            return None
        self._learn(sequence, track)
        tokens, held = sequence.tokens, track.held
        # The newest token is always read again: its logits are needed.
        most = min(len(held), len(tokens) - 1)
        sure = min(track.start, most)
        if held[:sure] != tokens[:sure]:
            sure = 0
        common = next((i for i in range(sure, most) if held[i] != tokens[i]), most)
        self._cut(sequence, track, common)
        return track

    def _read_ahead(self, tasks: list[Task], seconds: float) -> None:
        """Read a chunk of the tokens that are far behind, in about so many seconds."""
        self._batch.clear()
        limit = min(self._applied_costs.chunk(seconds), self._batch.capacity)
        for sequence, track, _ in tasks:
            behind = len(sequence.tokens) - track.end
            if behind > NEAR and self._batch.size < limit:
                at = track.end
                count = min(behind - 1, limit - self._batch.size)
                self._batch.add(sequence.tokens[at : at + count], at, track.slot, outputs="none")
                track.held += sequence.tokens[at : at + count]
        if self._batch.size:
            start = time.perf_counter()
            if self._decode():
                llama.llama_synchronize(self._context.pointer)
                self.costs.record_read(time.perf_counter() - start, self._batch.size)

    def _near(self, tasks: list[Task]) -> list[Task]:
        """Return the tasks of which a batch holds all unread tokens."""
        near, space = [], self._batch.capacity
        for sequence, track, count in tasks:
            behind = len(sequence.tokens) - track.end
            if behind <= min(NEAR, space):
                near.append((sequence, track, count))
                space -= behind
        return near

    def _stepped(self, tracks: list[Track]) -> None:
        """Do nothing: the KV cache has all that the next step needs."""


def check_vocabulary(model: LlamaModel, draft: LlamaModel) -> None:
    """Raise LoadError unless the tokens of a draft model have the texts of the model's."""
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
