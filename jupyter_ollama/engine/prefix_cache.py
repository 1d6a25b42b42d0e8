"""The prefix cache: a sequence forks the tokens that another one of its account has decoded.

Every sequence, running or finished, is in a radix tree over its tokens (RadixAttention of SGLang,
Zheng et al. 2024), one tree for each account (see ``account_trees``). A new sequence forks the
longest prefix that has been computed; if another one is reading a prefix they share, it waits for
that one and forks then. Finished sequences stay in a PrefixStore.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from .account_trees import AccountTrees
from .kept_prefixes import KeptPrefixes
from .llama_context import LlamaContext
from .prefix_files import PrefixFiles
from .prefix_store import WORTH_KEEPING, CachedPrefix, Holder, PrefixStore
from .reading_order import NEVER, TILE, Reading, computed_alone, reusable
from .sequence import CacheState

WORTH_A_STEP = 8
"""Tokens from which a sequence waits for another one that reads them with its next tile, on a CPU:
a step costs about as much as three tokens there, and all followers wait for the same step."""


class PrefixCache:
    """Assigns llama.cpp's sequence ids and forks the known part of a prompt."""

    def __init__(
        self,
        context: LlamaContext,
        *,
        idle_tokens: int,
        stored_bytes: int,
        is_repeatable: bool = False,
        by_tile: bool = False,
        filled_from: int = NEVER,
        files: PrefixFiles | None = None,
    ) -> None:
        """See PrefixStore for ``idle_tokens`` and ``stored_bytes``.

        Long system prompts are kept in ``files`` for later runners. With ``is_repeatable`` a
        sequence that starts while no other one runs gets the same numbers whatever ran before: see
        ``reading_order``, also for ``by_tile`` and ``filled_from``.
        """
        self._context = context
        self._is_repeatable = is_repeatable
        self._by_tile = by_tile
        self._filled_from = filled_from
        self._running = 0
        self._in_order = -1
        self._tree: AccountTrees[Holder] = AccountTrees()
        self._store = PrefixStore(
            context,
            self._tree,
            idle_tokens=idle_tokens,
            stored_bytes=stored_bytes,
            has_whole_states=is_repeatable,
        )
        self._kept = KeptPrefixes(
            context, self._tree, files, stored_bytes, is_repeatable=is_repeatable
        )

    def is_loading(self, sequence: CacheState) -> bool:
        """Return whether a sequence waits for its system prompt, which is read from the disk."""
        return self._kept.is_loading(sequence, runs_alone=not self._running)

    def wait_for_disk(self) -> None:
        """Wait a moment for a system prompt that is read from the disk, if one is."""
        self._kept.wait()

    def admit(self, sequence: CacheState) -> bool:
        """Give a sequence an id and the prefix it shares; False if no id is free."""
        was_clear = self._store.is_clear
        slot = self._store.take_id()
        if slot < 0:
            return False
        sequence.slot = slot
        sequence.order = self._store.tick()
        sequence.readings, sequence.alone = [Reading(0, len(sequence.tokens))], sys.maxsize
        self._running += 1
        self._kept.note(sequence.system)
        if from_disk := self._kept.recall(sequence, self._store.tick()):
            self._store.put(from_disk)
        if self._is_repeatable and self._running == 1:
            self._share_in_order(sequence, was_clear)
        else:
            self.share(sequence)
        sequence.reused = sequence.cached
        self._tree.insert(sequence.tokens, sequence)
        self._share_with_readers(sequence)
        self._store.drop_covered()
        return True

    def _share_with_readers(self, sequence: CacheState) -> None:
        """Let sequences that still read a system prompt share it, now that one more has sent it."""
        for other, length in self._tree.strangers(sequence).items():
            if isinstance(other, CacheState) and other.leader is None and other.cached < length:
                self.share(other)
                other.reused = max(other.reused, other.cached)

    def is_in_order(self, sequence: CacheState) -> bool:
        """Return whether all tokens of a sequence were computed as if no other one ran.

        Its cells are the first ones then, in the order of its tokens.
        """
        return 0 <= sequence.slot == self._in_order and sequence.alone >= sequence.cached

    def mix(self, running: Iterable[CacheState]) -> None:
        """Note that sequences continue beside each other: see ``is_in_order``."""
        self._in_order = -1
        for sequence in running:
            sequence.alone = min(sequence.alone, sequence.cached)

    def share(self, sequence: CacheState) -> None:
        """Fork the computed part of a sequence's tokens, and choose a leader to wait for."""
        sequence.leader = None
        best, ready = None, sequence.cached
        # One token must be decoded to have logits, and no image can be shared in part.
        last = sequence.whole(len(sequence.tokens) - 1)
        shared = self._tree.readable(sequence.tokens, sequence)
        shared.pop(sequence, None)
        for holder, common in shared.items():
            length = sequence.whole(self._usable(holder, min(common, last)))
            if length > ready and not self._has_window(holder, sequence.position(length)):
                continue
            if length > ready or (length == ready and best and best.slot < 0 <= holder.slot):
                best, ready = holder, length
        if best is not None:
            self._fork(best, sequence, ready)
        self._find_leader(sequence, shared, last)

    def _share_in_order(self, sequence: CacheState, was_clear: bool) -> None:
        """Fork what a sequence would have read in the same way, and give it the first cells.

        ``was_clear`` is True if the KV cache had no sequence.

        Attention sums in the order of the cells, so the prefix has to lie before the tokens that
        follow it, from the first cell on and beside no other sequence. The others move to host
        memory.
        """
        sequence.leader = None
        best, ready, readings = self._best_in_order(sequence)
        is_in_order = best is not None and 0 <= best.slot == self._in_order
        if best is not None:
            best.used = self._store.tick()
            if is_in_order:
                self._fork(best, sequence, ready)
                is_own = best.account == sequence.account
                if ready == best.cached and is_own and not self._context.is_recurrent:
                    self._store.drop(best)
            elif best.state is None:
                self._store.copy(best)
        # The one whose cells are in order frees those behind the common prefix here.
        while self._store.evict():
            pass
        if not is_in_order:
            if not was_clear:
                self._context.forget(-1)
            if best is not None and best.state is not None and self._has_window(best, 0):
                self._fork(best, sequence, ready)
        if sequence.cached:
            sequence.readings = readings
        sequence.alone = sys.maxsize
        self._in_order = sequence.slot

    def _best_in_order(
        self, sequence: CacheState
    ) -> tuple[CachedPrefix | None, int, list[Reading]]:
        """Return the prefix to fork, how many of its tokens, and how they were read."""
        last = sequence.whole(len(sequence.tokens) - 1)
        best, ready, readings = None, 0, sequence.readings
        # How much of a tile can be shared depends on the other readings of its holder.
        shared = self._tree.readable(sequence.tokens, sequence, tile=TILE)
        for holder, common in shared.items():
            assert isinstance(holder, CachedPrefix)
            known = computed_alone(holder.readings, holder.cached, holder.alone)
            if known < common and holder.account != sequence.account:
                continue
            common = self._usable(holder, min(common, last, known))
            length, parts = common, sequence.readings
            # A tile may end within an image, which is shared whole or not at all.
            if common and not sequence.media:
                end = len(sequence.tokens)
                length, parts = reusable(
                    holder.readings,
                    known,
                    common,
                    end,
                    by_tile=self._by_tile,
                    filled_from=self._filled_from,
                )
                length = self._usable(holder, length)
            # A part of a window would lie in other cells than if it were read.
            if length <= ready or not self._has_window(holder, 0):
                continue
            best, ready, readings = holder, length, parts
        return best, ready, readings

    def _usable(self, holder: Holder, common: int) -> int:
        """Return the tokens of a common prefix that a holder can give now."""
        if not self._context.is_recurrent:
            return min(holder.cached, common)
        # A recurrent state stands for all of its tokens, not for a part of them.
        return holder.cached if holder.cached <= common else 0

    def _has_window(self, holder: Holder, position: int) -> bool:
        """Return whether a holder has all tokens that a token at a position attends to."""
        window = self._context.window
        if not window:
            return True
        if isinstance(holder, CachedPrefix) and holder.state and holder.slot < 0:
            first = holder.state.first
        else:
            first = self._context.first_position(holder.slot)
        return first <= max(0, position - window + 1)

    def _fork(self, source: Holder, target: CacheState, length: int) -> None:
        if target.cached:
            self._context.forget(target.slot)
            target.cached = 0
        if isinstance(source, CachedPrefix):
            source.used = self._store.tick()
            if source.slot < 0:
                assert source.state is not None
                is_whole = len(source.state.parts) == 1
                spare = self.spare_id if is_whole else self.make_spare()
                if not self._context.restore(target.slot, source.state, spare):
                    return
                if length < source.cached:
                    self._context.cut(target.slot, target.position(length))
                target.cached = length
                if self._is_repeatable and self._running > 1:
                    # Its cells may be in any order, and between those of another sequence.
                    self._in_order, target.alone = -1, 0
                return
        self._context.fork(source.slot, target.slot, target.position(length))
        target.cached = length
        if source.account == target.account:
            target.readings, target.alone = source.readings, min(source.alone, length)
        else:
            # The next prompt of this account must not depend on the rest of the other's.
            whole = length // TILE * TILE
            target.readings = [Reading(0, len(target.tokens))]
            target.alone = whole if source.alone >= whole else 0

    @property
    def spare_id(self) -> int:
        """A sequence id that is not in use, -1 without any."""
        return self._store.spare_id

    def make_spare(self) -> int:
        """Return an id that is not in use, evicting a prefix if needed; -1 if that fails."""
        return self._store.make_spare()

    def _find_leader(self, sequence: CacheState, shared: dict[Holder, int], last: int) -> None:
        best: tuple[int, ...] = ()
        for holder, common in shared.items():
            if (
                isinstance(holder, CachedPrefix)
                or holder.order > sequence.order
                or holder.pending <= 1
            ):
                continue
            common = sequence.whole(min(common, last))
            is_near = self._is_repeatable and common - holder.cached <= TILE
            if common - sequence.cached < (WORTH_A_STEP if is_near else WORTH_KEEPING):
                continue
            # Of several that read the same, as those of several accounts may, the furthest.
            rank = (common - sequence.cached, holder.cached, -holder.order)
            if rank > best and common > holder.cached:
                best = rank
                sequence.leader, sequence.meeting_point = holder, common
        if sequence.leader:
            sequence.leader.followed_until.append(sequence.meeting_point)

    def follow(self, sequence: CacheState) -> bool:
        """Fork from a sequence's leader as soon as possible; True if it must wait longer."""
        leader = sequence.leader
        if leader is None:
            return False
        is_ahead = leader.slot >= 0 and leader.order < sequence.order
        if is_ahead and leader.cached < sequence.meeting_point:
            return True
        self.share(sequence)
        sequence.reused = max(sequence.reused, sequence.cached)
        return sequence.leader is not None

    def release(self, sequence: CacheState, *, keep: bool) -> None:
        """Take a sequence's id back; with ``keep`` the store keeps its unmodified prefix."""
        self._running -= 1
        tokens = sequence.tokens[: sequence.whole(min(sequence.cached, sequence.exact))]
        whole = len(tokens) == sequence.cached or not self._context.is_recurrent
        if keep and whole and len(tokens) >= WORTH_KEEPING:
            if len(tokens) < sequence.cached:
                self._context.cut(sequence.slot, sequence.position(len(tokens)))
            # The disk gets what is in the cells while the batch loop is idle.
            self._store.keep(sequence, tokens, in_cells=self._kept.wants(sequence.system))
        else:
            self._tree.remove(sequence)
            self._store.free_id(sequence.slot)
        sequence.slot, sequence.cached = -1, 0

    def unshare(self, sequence: CacheState, keep: int) -> bool:
        """Make the cells of a sequence behind its first ``keep`` tokens its own.

        Moving them would move them for all that share them. Returns False if a running one does.
        """
        shared = self._cell_mates(sequence)
        for holder, common in shared.items():
            if common > keep and isinstance(holder, CachedPrefix) and holder.slot >= 0:
                self._store.drop(holder)
        mine = self._cell_mates(sequence)
        running = (h for h in mine if isinstance(h, CacheState) and h is not sequence)
        is_own = all(mine[holder] <= keep for holder in running)
        self._tree.insert(sequence.tokens[:keep], sequence)
        return is_own

    def _cell_mates(self, sequence: CacheState) -> dict[Holder, int]:
        """Return the holders that may share cells with a sequence, and how many first tokens."""
        mine = self._tree.match(sequence.tokens, sequence)
        return mine | self._tree.strangers(sequence)

    def trim(self, running: int, *, copy: bool) -> bool:
        """Evict an idle sequence if too many are beside ``running`` ones: see PrefixStore."""
        return self._store.trim(running, copy=copy)

    def evict(self) -> bool:
        """Move the least recently used idle sequence out of the KV cache; False without any."""
        return self._store.evict()

    def store(self) -> bool:
        """Copy an idle sequence before it has to leave, or for the disk; False without any."""
        return self._store.store() or self._kept.rest(self._store)

    def drop(self, adapters: int) -> None:
        """Forget the finished sequences that were computed with a set of adapters."""
        self._store.drop_all(adapters)

    @property
    def stored_bytes(self) -> int:
        """Host memory of copies of finished sequences."""
        return self._store.stored_bytes

    def tokens_in_cells(self) -> int:
        """Count the tokens that the KV cache holds, those of running and of idle sequences."""
        return self._tree.reached(lambda holder: holder.cached if holder.slot >= 0 else 0)
