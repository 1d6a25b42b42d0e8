"""Finished sequences: in the KV cache while they cost little there, then in host memory.

The least recently used one leaves first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from .account_trees import AccountTrees, SystemPrefix
from .llama_context import LlamaContext
from .reading_order import Reading
from .saved_state import SavedState, StateCopy
from .sequence import CacheState

WORTH_KEEPING = 32
"""Tokens from which a finished sequence is kept, and another one waits for it to be decoded."""

WORTH_STORING = 128
"""Tokens that no other sequence has, from which a sequence is copied to host memory; half of a
short one will do. A copy is of the whole sequence and takes about a hundredth of reading it."""

MAX_PREFIXES = 256
"""Finished sequences that are kept. A new sequence is compared to all that begin like it, so the
rows of a long job would cost more and more."""


@dataclass(slots=True, eq=False)
class CachedPrefix:
    """A finished sequence: its tokens, in the KV cache (``slot``), in a saved ``state`` or both.

    ``copy`` has the parts of a state that is not whole yet.
    The first ``alone`` tokens were computed while no other sequence ran.
    """

    tokens: list[int]
    slot: int
    used: int
    readings: list[Reading]
    alone: int
    account: int = 0
    system: SystemPrefix | None = None
    adapters: int = 0
    state: SavedState | None = None
    copy: StateCopy = field(default_factory=StateCopy)

    @property
    def cached(self) -> int:
        """Tokens that have been computed: all."""
        return len(self.tokens)


Holder = CacheState | CachedPrefix


class PrefixStore:
    """Finished sequences, and the sequence ids of llama.cpp that are free."""

    def __init__(
        self,
        context: LlamaContext,
        tree: AccountTrees[Holder],
        *,
        idle_tokens: int,
        stored_bytes: int,
        has_whole_states: bool,
    ) -> None:
        """Keep ``idle_tokens`` in the KV cache beside one running sequence.

        Attention reads the cells of idle sequences too before it masks them, which slows down every
        running sequence: beside more of them fewer are kept. Up to ``stored_bytes`` of host memory
        take those that leave. With ``has_whole_states`` a copy includes the tokens outside of
        sliding windows.
        """
        self._context = context
        self._tree = tree
        self._ids = list(range(context.max_sequences - 1, -1, -1))
        context.forget(-1)
        self._idle_tokens = idle_tokens
        self._most_stored = stored_bytes
        self._has_whole_states = has_whole_states
        self._prefixes: list[CachedPrefix] = []
        self._clock = count(1)

    def tick(self) -> int:
        """Return a number that is higher than all before, as a time of use."""
        return next(self._clock)

    def take_id(self) -> int:
        """Return a free sequence id, evicting a prefix if needed; -1 if all are in use."""
        return self._ids.pop() if self._ids or self.evict() else -1

    @property
    def is_clear(self) -> bool:
        """True if the KV cache has no sequence; its cells are then as in a new context."""
        return len(self._ids) == self._context.max_sequences

    def free_id(self, slot: int) -> None:
        """Empty a sequence of the KV cache; its id is free again."""
        self._ids.append(slot)
        # If it was the last one, the cells are cleared, so that the next request need not do it.
        self._context.forget(-1 if self.is_clear else slot)

    @property
    def spare_id(self) -> int:
        """A sequence id that is not in use, -1 without any."""
        return self._ids[-1] if self._ids else -1

    def make_spare(self) -> int:
        """Return an id that stays free, evicting a prefix if needed; -1 if all are in use."""
        if not self._ids:
            self.evict()
        return self.spare_id

    def keep(self, sequence: CacheState, tokens: list[int], *, in_cells: bool) -> None:
        """Keep the first tokens of a sequence that has ended, with its id.

        With ``in_cells`` they stay there although they may be in host memory, too.
        """
        prefix = CachedPrefix(
            tokens,
            sequence.slot,
            self.tick(),
            sequence.readings,
            min(sequence.alone, len(tokens)),
            sequence.account,
            sequence.system,
            sequence.adapters,
        )
        self._prefixes.append(prefix)
        self._tree.insert(tokens, prefix)
        self._tree.remove(sequence)
        if self._is_covered(prefix, in_cells=in_cells) and not self._context.is_recurrent:
            self.drop(prefix)
        elif len(self._prefixes) > MAX_PREFIXES:
            self.drop(min(self._prefixes, key=lambda one: (one.slot >= 0, one.used)))

    def drop_covered(self) -> None:
        """Drop the prefixes that other sequences of their account have in full."""
        if not self._context.is_recurrent:
            for prefix in [one for one in self._prefixes if self._is_covered(one)]:
                self.drop(prefix)

    def _is_covered(self, prefix: CachedPrefix, *, in_cells: bool = False) -> bool:
        """Return whether others of its account have computed all tokens of a finished sequence.

        With ``in_cells`` those in host memory do not count. Those that begin with the same tokens
        and have not read them yet will fork from it.
        """
        length = len(prefix.tokens)
        return not self._tree.alone(prefix) and any(
            holder is not prefix
            and min(common, holder.cached) >= length
            and holder.alone >= prefix.alone
            and (holder.slot >= 0 or not in_cells)
            for holder, common in self._tree.match(prefix.tokens, prefix).items()
        )

    def drop(self, prefix: CachedPrefix) -> None:
        """Forget a finished sequence."""
        self._tree.remove(prefix)
        self._prefixes.remove(prefix)
        self._empty(prefix)

    def drop_all(self, adapters: int) -> None:
        """Forget the finished sequences that were computed with a set of adapters."""
        for prefix in [one for one in self._prefixes if one.adapters == adapters]:
            self.drop(prefix)

    def _empty(self, prefix: CachedPrefix) -> None:
        if prefix.slot >= 0:
            self.free_id(prefix.slot)
            prefix.slot = -1

    def trim(self, running: int, *, copy: bool) -> bool:
        """Evict an idle sequence, or copy a part of it, if there are too many beside ``running``.

        Without ``copy`` only one that needs no copying. Returns whether there may be more to do.
        """
        oldest = self._oldest()
        if oldest is None or self._idle_in_cells() <= self._idle_tokens // max(running, 1):
            return False
        if self._is_to_store(oldest):
            if not copy:
                return False
            if not self._copy_part(oldest):
                return True
        return self._remove(oldest)

    def evict(self) -> bool:
        """Move the least recently used idle sequence out of the KV cache; False without any."""
        oldest = self._oldest()
        if oldest is None:
            return False
        if self._is_to_store(oldest):
            self.copy(oldest)
        return self._remove(oldest)

    def _remove(self, oldest: CachedPrefix) -> bool:
        """Remove a sequence from the KV cache; forget it if there is no copy."""
        if oldest.state is None:
            self.drop(oldest)
        else:
            self._empty(oldest)
        return True

    def store(self) -> bool:
        """Copy a part of an idle sequence before it has to leave; False if there is none."""
        if self._idle_in_cells() <= self._idle_tokens or self.stored_bytes >= self._most_stored:
            return False
        missing = [one for one in self._prefixes if one.slot >= 0 and self._is_to_store(one)]
        if not missing:
            return False
        newest = max(missing, key=lambda one: one.used)
        if self._copy_part(newest) and newest.state is None:
            self.drop(newest)
        return True

    def copy(self, prefix: CachedPrefix) -> None:
        """Copy a sequence to host memory; those that were not used for longest make space."""
        while not self._copy_part(prefix):
            pass

    def _copy_part(self, prefix: CachedPrefix) -> bool:
        """Copy the next part of a sequence; True after the last one, and if it fails."""
        spare = self.spare_id if self._has_whole_states else -1
        try:
            prefix.state = self._context.save_next(prefix.slot, prefix.copy, spare)
        except RuntimeError:
            return True
        if prefix.state is None:
            return False
        prefix.copy = StateCopy()
        self._make_space()
        return True

    def put(self, prefix: CachedPrefix) -> None:
        """Take a system prompt from the disk, for all accounts where it was common."""
        self._prefixes.append(prefix)
        self._tree.insert(prefix.tokens, prefix)
        if prefix.system:
            self._tree.make_common(prefix.system)
        self._make_space()
        self.make_spare()  # a state in several parts is restored by way of another sequence

    @property
    def prefixes(self) -> Sequence[CachedPrefix]:
        """All finished sequences."""
        return self._prefixes

    def _make_space(self) -> None:
        while self.stored_bytes > self._most_stored:
            cold = [other for other in self._prefixes if other.slot < 0]
            if not cold:
                break
            self.drop(min(cold, key=lambda other: other.used))

    def _idle_in_cells(self) -> int:
        idle = {
            node: len(node.tokens)
            for prefix in self._prefixes
            if prefix.slot >= 0
            for node in self._tree.path(prefix)
            if all(isinstance(holder, CachedPrefix) for holder in node.holders)
        }
        return sum(idle.values())

    @property
    def stored_bytes(self) -> int:
        """Host memory of copies of finished sequences."""
        return sum(prefix.state.nbytes for prefix in self._prefixes if prefix.state is not None)

    def _oldest(self) -> CachedPrefix | None:
        """Return the idle sequence in the KV cache that was least recently used."""
        hot = (prefix for prefix in self._prefixes if prefix.slot >= 0)
        return min(hot, key=lambda prefix: prefix.used, default=None)

    def _is_to_store(self, prefix: CachedPrefix) -> bool:
        enough = min(WORTH_STORING, len(prefix.tokens) // 2)
        is_worth = bool(self._most_stored) and self._tree.alone(prefix) >= enough
        return is_worth and prefix.state is None
