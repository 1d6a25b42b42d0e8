"""Speculative decoding with the model's own head: multi-token prediction (MTP, DeepSeek-V3 2024).

The head reads the hidden state from which a token was chosen. Only tokens that had logits have one,
so the head's KV cache holds generated tokens, never the prompt: the states contain what matters of
it, and prompts cost no more than without the head.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .drafter import Drafter, Task, Track
from .llama_context import LlamaContext
from .llama_model import LlamaModel
from .sequence import Sequence

KEPT = 64
"""Tokens of a sequence whose hidden states are kept until the head reads them, at most."""


class MtpDrafter(Drafter):
    """The head of the model beside the batch loop."""

    reads_images = True

    def __init__(self, model: LlamaModel, context: LlamaContext) -> None:
        self._unread: dict[Sequence, list[NDArray[np.float32]]] = {}
        self._carried: dict[Track, NDArray[np.float32]] = {}
        super().__init__(model, context, model.n_vocab, model.n_embd_out)

    def forget(self, sequence: Sequence) -> None:
        """Forget a sequence that has left the batch loop."""
        super().forget(sequence)
        self._unread.pop(sequence, None)

    def observe(self, sequence: Sequence, states: NDArray[np.float32]) -> None:
        """Keep the states of a sequence that may get drafts."""
        may_draft = sequence.params.draft_num_predict > 0 and not sequence.constraint
        if may_draft and not sequence.score:
            unread = self._unread.setdefault(sequence, [])
            unread.extend(states.copy())
            del unread[:-KEPT]

    def _follow(self, sequence: Sequence) -> Track | None:
        unread = self._unread.get(sequence)
        if not unread:
            return None
        track = self._tracks.get(sequence) or self._make_track(sequence)
        if track is None:
            return None
        self._learn(sequence, track)
        # Drafts are read again with the states of the model, even those that were right.
        self._cut(sequence, track, track.start)
        first = len(sequence.tokens) - len(unread)
        if track.end != first:
            # States are missing, or the context was shifted: begin with the states that remain.
            self._context.forget(track.slot)
            track.first, track.held = first, []
        return track

    def _read_ahead(self, tasks: list[Task], seconds: float) -> None:
        """Read nothing ahead: no sequence has more unread states than one step can read."""

    def _near(self, tasks: list[Task]) -> list[Task]:
        near, space = [], self._batch.capacity
        for sequence, track, count in tasks:
            behind = len(sequence.tokens) - track.end
            if behind <= space:
                near.append((sequence, track, count))
                space -= behind
        return near

    def _put(self, sequence: Sequence, track: Track, tokens: list[int]) -> None:
        rows = self._batch.states[self._batch.size :]
        if track.drafts:
            rows[0] = self._carried[track]
        else:
            rows[: len(tokens)] = self._unread[sequence]
            self._unread[sequence].clear()
        super()._put(sequence, track, tokens)

    def _stepped(self, tracks: list[Track]) -> None:
        states = self._context.all_states(self._batch.size)
        self._carried = {track: states[track.row].copy() for track in tracks}
