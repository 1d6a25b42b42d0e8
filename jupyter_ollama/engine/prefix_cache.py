"""The prefix cache: no token is read twice while somebody still has it.

Every sequence, running or finished, is in a radix tree over its tokens. A new one forks the longest
prefix that has been computed; if another one is just reading a prefix they share, it waits for that
one and forks then. Finished sequences stay in the KV cache as long as they cost little there, then
in the memory of the host. The least recently used goes first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

import numpy as np
from numpy.typing import NDArray

from .llama_context import LlamaContext
from .prefix_tree import PrefixTree
from .sequence import Sequence

WORTH_WAITING = 32
"""Tokens that must be saved before a sequence waits for another, or is kept when it is over."""

WORTH_STORING = 128
"""Tokens that nobody else has before a sequence is copied to the host's memory, if they are not
half of it anyhow. A copy is of the whole sequence and takes about a hundredth of reading it."""

MOST_PARKED = 256
"""Finished sequences that are kept: who comes is held against all that begin as it does, so that
the rows of a long job would cost more and more."""


@dataclass(slots=True, eq=False)
class Parked:
    """A finished sequence: its tokens, in the KV cache (``slot``), in a saved ``state`` or both."""

    tokens: list[int]
    slot: int
    used: int
    state: NDArray[np.uint8] | None = field(default=None)

    @property
    def cached(self) -> int:
        """Tokens that have been computed: all."""
        return len(self.tokens)


Holder = Sequence | Parked


class PrefixCache:
    """Gives out llama.cpp's sequence ids and what is known of a prompt already."""

    def __init__(self, context: LlamaContext, *, idle_tokens: int, stored_bytes: int) -> None:
        """Keep ``idle_tokens`` of finished sequences in the KV cache beside a running one.

        Attention looks at the cells of idle sequences too before it masks them, so they slow down
        everyone who runs: beside many fewer are kept. ``stored_bytes`` of the host's memory take
        what has to leave.
        """
        self._context = context
        self._tree: PrefixTree[Holder] = PrefixTree()
        self._ids = list(range(context.max_sequences - 1, -1, -1))
        self._idle_tokens = idle_tokens
        self._stored_bytes = stored_bytes
        self._parked: list[Parked] = []
        self._clock = count(1)

    def admit(self, sequence: Sequence) -> bool:
        """Give a sequence an id and the prefix it shares; False if there is no id left."""
        if not self._ids and not self.evict():
            return False
        sequence.slot = self._ids.pop()
        sequence.order = next(self._clock)
        self.share(sequence)
        sequence.reused = sequence.cached
        self._tree.insert(sequence.tokens, sequence)
        if not self._context.is_recurrent:
            for parked in [p for p in self._parked if self._is_covered(p)]:
                self._drop(parked)
        return True

    def share(self, sequence: Sequence) -> None:
        """Fork what is computed of a sequence's tokens, and note whom to wait for."""
        sequence.leader = None
        best, ready = None, sequence.cached
        # One token must be decoded to have logits, and no image can be shared in part.
        last = sequence.whole(len(sequence.tokens) - 1)
        shared = self._tree.match(sequence.tokens)
        shared.pop(sequence, None)
        for holder, common in shared.items():
            length = sequence.whole(self._usable(holder, min(common, last)))
            if length > ready or (length == ready and best and best.slot < 0 <= holder.slot):
                best, ready = holder, length
        if best is not None:
            self._fork(best, sequence, ready)
        self._find_leader(sequence, shared, last)

    def _usable(self, holder: Holder, common: int) -> int:
        """Return the tokens of a common prefix that a holder can give now."""
        if not self._context.is_recurrent:
            return min(holder.cached, common)
        # A recurrent state stands for all of its tokens, not for a part of them.
        return holder.cached if holder.cached <= common else 0

    def _fork(self, source: Holder, target: Sequence, length: int) -> None:
        if target.cached:
            self._context.forget(target.slot)
            target.cached = 0
        if isinstance(source, Parked):
            source.used = next(self._clock)
            if source.slot < 0:
                assert source.state is not None
                if not self._context.restore(target.slot, source.state):
                    return
                if length < source.cached:
                    self._context.cut(target.slot, target.position(length))
                target.cached = length
                return
        self._context.fork(source.slot, target.slot, target.position(length))
        target.cached = length

    def _find_leader(self, sequence: Sequence, shared: dict[Holder, int], last: int) -> None:
        gain = WORTH_WAITING
        for holder, common in shared.items():
            if isinstance(holder, Parked) or holder.order > sequence.order or holder.pending <= 1:
                continue
            common = sequence.whole(min(common, last))
            if common - sequence.cached >= gain and common > holder.cached:
                gain = common - sequence.cached
                sequence.leader, sequence.meeting_point = holder, common
        if sequence.leader:
            sequence.leader.followed_until.append(sequence.meeting_point)

    def follow(self, sequence: Sequence) -> bool:
        """Fork from the sequence that leads this one as soon as it can; True to wait longer."""
        leader = sequence.leader
        if leader is None:
            return False
        is_ahead = leader.slot >= 0 and leader.order < sequence.order
        if is_ahead and leader.cached < sequence.meeting_point:
            return True
        self.share(sequence)
        sequence.reused = max(sequence.reused, sequence.cached)
        return sequence.leader is not None

    def release(self, sequence: Sequence, *, keep: bool) -> None:
        """Take a sequence's id back; ``keep`` parks what it has computed."""
        self._tree.remove(sequence)
        tokens = sequence.tokens[: sequence.whole(min(sequence.cached, sequence.exact))]
        whole = len(tokens) == sequence.cached or not self._context.is_recurrent
        if keep and whole and len(tokens) >= WORTH_WAITING:
            if len(tokens) < sequence.cached:
                self._context.cut(sequence.slot, sequence.position(len(tokens)))
            parked = Parked(tokens, sequence.slot, next(self._clock))
            self._parked.append(parked)
            self._tree.insert(tokens, parked)
            if self._is_covered(parked) and not self._context.is_recurrent:
                self._drop(parked)
            elif len(self._parked) > MOST_PARKED:
                self._drop(min(self._parked, key=lambda one: (one.slot >= 0, one.used)))
        else:
            self._context.forget(sequence.slot)
            self._ids.append(sequence.slot)
        sequence.slot, sequence.cached = -1, 0

    def _is_covered(self, parked: Parked) -> bool:
        """Tell whether somebody else has computed all that a finished sequence has.

        Those who begin with the same tokens and have not read them yet are to fork from it.
        """
        count = len(parked.tokens)
        return not self._tree.alone(parked) and any(
            holder is not parked and min(common, holder.cached) >= count
            for holder, common in self._tree.match(parked.tokens).items()
        )

    def unshare(self, sequence: Sequence, keep: int) -> bool:
        """Make the cells of a sequence behind its first ``keep`` tokens its own.

        Moving them would move them for all who share them. Returns False if a running one does.
        """
        shared = self._tree.match(sequence.tokens)
        for holder, common in shared.items():
            if common > keep and isinstance(holder, Parked) and holder.slot >= 0:
                self._drop(holder)
        mine = self._tree.match(sequence.tokens)
        running = (h for h in mine if isinstance(h, Sequence) and h is not sequence)
        is_own = all(mine[holder] <= keep for holder in running)
        self._tree.insert(sequence.tokens[:keep], sequence)
        return is_own

    def trim(self, running: int, *, copy: bool) -> bool:
        """Let an idle sequence leave the KV cache if they slow down those that run.

        Only without ``copy`` nobody has to wait for it. Returns whether one did leave.
        """
        oldest = self._oldest()
        if oldest is None or self._idle_in_cells() <= self._idle_tokens // max(running, 1):
            return False
        if not copy and self._is_to_store(oldest):
            return False
        return self.evict()

    def store(self) -> bool:
        """Copy an idle sequence ahead of the time when it has to leave; False if there is none."""
        if self._idle_in_cells() <= self._idle_tokens or self._stored() >= self._stored_bytes:
            return False
        missing = [p for p in self._parked if p.slot >= 0 and self._is_to_store(p)]
        if not missing:
            return False
        newest = max(missing, key=lambda parked: parked.used)
        self._copy(newest)
        if newest.state is None:
            self._drop(newest)
        return True

    def _idle_in_cells(self) -> int:
        idle = {
            node: len(node.tokens)
            for parked in self._parked
            if parked.slot >= 0
            for node in self._tree.path(parked)
            if all(isinstance(holder, Parked) for holder in node.holders)
        }
        return sum(idle.values())

    def tokens_in_cells(self) -> int:
        """Count the tokens that the KV cache holds, those of running and of idle sequences."""
        return self._tree.reached(lambda holder: holder.cached if holder.slot >= 0 else 0)

    def _stored(self) -> int:
        return sum(parked.state.nbytes for parked in self._parked if parked.state is not None)

    def _oldest(self) -> Parked | None:
        """Return the idle sequence in the KV cache that was least recently used."""
        hot = (parked for parked in self._parked if parked.slot >= 0)
        return min(hot, key=lambda parked: parked.used, default=None)

    def _is_to_store(self, parked: Parked) -> bool:
        enough = min(WORTH_STORING, len(parked.tokens) // 2)
        is_worth = bool(self._stored_bytes) and self._tree.alone(parked) >= enough
        return is_worth and parked.state is None

    def _copy(self, parked: Parked) -> None:
        """Copy what the KV cache has of a sequence; those unused for long make room."""
        parked.state = self._context.save(parked.slot)
        while self._stored() > self._stored_bytes:
            cold = [other for other in self._parked if other.slot < 0]
            if not cold:
                break
            self._drop(min(cold, key=lambda other: other.used))

    def evict(self) -> bool:
        """Move the least recently used idle sequence out of the KV cache; False without any."""
        oldest = self._oldest()
        if oldest is None:
            return False
        if self._is_to_store(oldest):
            self._copy(oldest)
        if oldest.state is None:
            self._drop(oldest)
        else:
            self._empty(oldest)
        return True

    def clear(self) -> None:
        """Forget all idle sequences."""
        for parked in list(self._parked):
            self._drop(parked)

    def _drop(self, parked: Parked) -> None:
        self._tree.remove(parked)
        self._parked.remove(parked)
        if parked.slot >= 0:
            self._empty(parked)

    def _empty(self, parked: Parked) -> None:
        self._context.forget(parked.slot)
        self._ids.append(parked.slot)
        parked.slot = -1
