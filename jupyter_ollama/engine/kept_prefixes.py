"""Long system prompts on the disk, so that the first request after a restart does not read its own.

Files are read and written by two threads. A request whose system prompt is on the disk waits for it
while others run. The state is copied for the disk while the batch loop is idle, in parts that are
short enough for a request that arrives meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .account_trees import AccountTrees, SystemPrefix
from .llama_context import LlamaContext
from .low_priority import lower_thread_priority
from .prefix_files import PrefixFiles
from .prefix_store import CachedPrefix, Holder, PrefixStore
from .reading_order import TILE, Reading, computed_alone, end_of_tiles
from .saved_state import SavedState
from .sequence import CacheState
from .system_prefix import LEAST_KEPT

log = logging.getLogger(__name__)

USES = 2
"""Requests with a system prompt after which it is kept. Many prompts are sent once, for instance if
they contain the time."""

COUNTED = 256
"""The number of system prompts whose requests are counted: the ones that were sent last."""

PART_TOKENS = 512
"""Tokens that are copied at once, which takes 4 ms for SmolLM2 and some 20 ms for a model of 8B."""

LOAD_SECONDS = 20.0
"""The time for which requests wait for a file, then they read their prompts. A disk with 50 MB/s
reads 1 GiB meanwhile; one that hangs delays the first request alone."""

WAIT_SECONDS = 0.05
"""The time for which the batch loop waits for a file before it looks for commands."""

TOUCH_SECONDS = 600.0
"""The shortest time between two notes that a system prompt is in use."""


@dataclass
class Load:
    """A file that is being read, and since when (time.monotonic)."""

    state: Future[SavedState | None]
    since: float = field(default_factory=time.monotonic)


@dataclass
class Copy:
    """A system prompt whose state is being copied for the disk: ``done`` tokens, in ``parts``."""

    prefix: CachedPrefix
    system: SystemPrefix
    slot: int
    done: int = 0
    parts: list[NDArray[np.uint8]] = field(default_factory=list)

    @property
    def is_lost(self) -> bool:
        """True if the sequence has left the KV cache."""
        return self.prefix.slot != self.slot


class KeptPrefixes:
    """Decides which system prompts are read from the disk and written there.

    All methods are the batch loop's.
    """

    def __init__(
        self,
        context: LlamaContext,
        tree: AccountTrees[Holder],
        files: PrefixFiles | None,
        most_bytes: int,
        *,
        is_repeatable: bool,
    ) -> None:
        """Keep states of up to ``most_bytes`` each in ``files``, none without.

        See PrefixCache for ``is_repeatable``.
        """
        self._context = context
        self._tree = tree
        self._files = files
        self._most_bytes = min(most_bytes, files.max_bytes if files else 0)
        self._is_repeatable = is_repeatable
        self._part = min(PART_TOKENS, context.window or PART_TOKENS)
        self._reader = ThreadPoolExecutor(1, "read-prefix")
        self._writer = ThreadPoolExecutor(1, "write-prefix", lower_thread_priority)
        self._uses: OrderedDict[SystemPrefix, int] = OrderedDict()
        self._touched: dict[SystemPrefix, float] = {}
        self._loads: dict[SystemPrefix, Load] = {}
        self._settled: set[SystemPrefix] = set()
        self._copy: Copy | None = None

    def note(self, system: SystemPrefix | None) -> None:
        """Count a request with a system prompt."""
        if self._files is None or system is None or not system.scope:
            return
        self._uses[system] = self._uses.pop(system, 0) + 1
        if len(self._uses) > COUNTED:
            forgotten, _ = self._uses.popitem(last=False)
            self._touched.pop(forgotten, None)
        if self._files.has(system):
            now = time.monotonic()
            if now - self._touched.get(system, -TOUCH_SECONDS) >= TOUCH_SECONDS:
                self._touched[system] = now
                self._writer.submit(self._files.touch, system)

    def is_loading(self, sequence: CacheState, *, runs_alone: bool) -> bool:
        """Return whether the system prompt of a sequence is being read; begin to read it.

        It is not read where the sequence can fork it: with ``runs_alone`` from one that ran alone.
        """
        system = sequence.system
        if self._files is None or system is None or not system.scope:
            return False
        load = self._loads.get(system)
        if load is None:
            if not self._files.has(system) or self._is_known(sequence, system, runs_alone):
                return False
            tokens = sequence.tokens[: system.length]
            self._loads[system] = Load(self._reader.submit(self._files.read, system, tokens))
            return True
        if load.state.done():
            return False
        if time.monotonic() - load.since < LOAD_SECONDS:
            return True
        log.warning("Reading a system prompt from the disk takes too long: it is computed")
        self._files.forget(system)
        del self._loads[system]
        return False

    def _is_known(self, sequence: CacheState, system: SystemPrefix, runs_alone: bool) -> bool:
        """Return whether a sequence can fork its system prompt, now or once another has read it."""
        for holder, common in self._tree.readable(sequence.tokens, sequence).items():
            length = common
            if isinstance(holder, CachedPrefix) and self._is_repeatable and runs_alone:
                known = computed_alone(holder.readings, holder.cached, holder.alone)
                length = min(common, known)
            if length >= _tiles(system):
                return True
        return False

    def wait(self) -> None:
        """Wait a moment for one of the files that are being read, if there are any."""
        states = [load.state for load in self._loads.values() if not load.state.done()]
        if states:
            wait(states, WAIT_SECONDS, FIRST_COMPLETED)

    def recall(self, sequence: CacheState, used: int) -> CachedPrefix | None:
        """Return the system prompt of a sequence if it has been read from the disk, as last used.

        As many tiles as it has are exact: the request that wrote it ran alone while they were read.
        """
        system = sequence.system
        load = self._loads.pop(system, None) if system else None
        state = load.state.result() if load and load.state.done() else None
        if state is None or system is None:
            return None
        return CachedPrefix(
            sequence.tokens[: system.length],
            slot=-1,
            used=used,
            readings=[Reading(0, system.length + 1)],
            alone=_tiles(system),
            account=sequence.account,
            adapters=sequence.adapters,
            system=system,
            state=state,
        )

    def rest(self, store: PrefixStore) -> bool:
        """Copy a part of a system prompt that is to be kept; False if ``store`` has none.

        The last part hands the prompt to the thread that writes it.
        """
        for system in [one for one, load in self._loads.items() if load.state.done()]:
            del self._loads[system]  # its request was cancelled
        if self._copy is None or self._copy.is_lost:
            self._copy = self._next(store.prefixes)
        copy = self._copy
        spare = store.make_spare() if copy else -1
        if copy is None or spare < 0 or copy.is_lost:
            return False
        system = copy.system
        end = min(copy.done + self._part, system.length)
        part = self._context.save_part(copy.slot, spare, copy.done, end)
        if part is None or part.nbytes * system.length > self._most_bytes * (end - copy.done):
            self._settled.add(system)  # it never fits
            self._copy = None
            return True
        copy.parts.append(part)
        copy.done = end
        if end == system.length:
            self._settled.add(system)
            self._copy = None
            tokens = copy.prefix.tokens[:end]
            self._writer.submit(self._write, system, tokens, copy.parts)
        return True

    def _next(self, prefixes: Iterable[CachedPrefix]) -> Copy | None:
        for prefix in prefixes:
            system = prefix.system
            if system and self.wants(system) and self._is_exact(prefix, system):
                return Copy(prefix, system, prefix.slot)
        return None

    def wants(self, system: SystemPrefix | None) -> bool:
        """Return whether a system prompt is to be written, as soon as there is a state of it."""
        if self._files is None or system is None or self._uses.get(system, 0) < USES:
            return False
        if system.length < LEAST_KEPT or system in self._settled or self._files.has(system):
            return False
        return not system.after or self._tree.is_common(system)

    def _is_exact(self, prefix: CachedPrefix, system: SystemPrefix) -> bool:
        """Return whether a finished sequence has a system prompt as a request alone reads it."""
        if prefix.slot < 0 or len(prefix.tokens) < system.length:
            return False
        if self._context.window and self._context.first_position(prefix.slot) != 0:
            return False
        if not self._is_repeatable:
            return True
        whole = _tiles(system)
        return prefix.alone >= whole and end_of_tiles(prefix.readings[0].end) >= whole

    def _write(
        self, system: SystemPrefix, tokens: list[int], parts: list[NDArray[np.uint8]]
    ) -> None:
        """Write a file; it is written anew once another process has removed it."""
        assert self._files
        try:
            self._files.write(system, tokens, parts)
        except OSError as error:
            log.warning("A system prompt of %d tokens is not kept: %s", len(tokens), error)
        if self._files.has(system):
            self._settled.discard(system)


def _tiles(system: SystemPrefix) -> int:
    """Return how many first tokens of a system prompt are whole tiles."""
    return system.length // TILE * TILE
