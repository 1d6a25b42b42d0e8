"""Which sequences may share a prefix: a tree for each account, and common system prompts.

A sequence forks and waits for sequences of its own account. From another account it can fork only
the system prompt, as a whole, and only once enough other accounts have sent the same one. Each
account has its own tree, so the answers of the tree for a sequence of one account (covered, alone)
never depend on the tokens of another.

Keys and values depend on the adapters they were computed with. So each set of adapters has trees
and system prompts (`SystemPrefix.computed_with`) of its own, and nothing is shared between sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Generic, NamedTuple, Protocol, TypeVar

from .prefix_tree import Node, PrefixTree


class SystemPrefix(NamedTuple):
    """The system prompt that a sequence begins with.

    ``digest`` covers its whole text, tools included; the first ``length`` tokens of the sequence
    depend on that text alone. Another account may fork them once ``after`` accounts besides it
    have sent the text, with 0 none may. ``scope`` names those who may read them from the disk: see
    PrefixSharing.
    """

    digest: bytes
    length: int
    after: int
    scope: str = ""

    def computed_with(self, adapters: int) -> SystemPrefix:
        """Return the prefix as it is read with a set of adapters: another one for each set.

        It is not kept on the disk, where files belong to the model without adapters.
        """
        if not adapters:
            return self
        number = adapters.to_bytes(8, "big")
        return self._replace(digest=sha256(self.digest + number).digest(), scope="")


class Owned(Protocol):
    """A sequence, running or finished, with its account and its system prompt."""

    @property
    def account(self) -> int:
        """An opaque number."""

    @property
    def adapters(self) -> int:
        """The number of the adapters with which it is computed."""

    @property
    def system(self) -> SystemPrefix | None:
        """None where no part may ever be forked by others."""


Holder = TypeVar("Holder", bound=Owned)


@dataclass(eq=False)
class Sent(Generic[Holder]):
    """A system prompt: accounts that sent it, as many as matter, and the tokens of each holder.

    It ``was_common`` if it comes from the disk: enough accounts have sent it to an earlier runner.
    """

    accounts: set[int] = field(default_factory=set)
    holders: dict[Holder, int] = field(default_factory=dict)
    was_common: bool = False

    def is_common(self, account: int, after: int) -> bool:
        """Return whether an account may fork it: the account itself does not count."""
        return self.was_common or len(self.accounts - {account}) >= after

    def counted_again(self, reach: Callable[[Holder], int]) -> int:
        """Count the tokens that several accounts have once it is common, without those of one."""
        after = next((one.system.after for one in self.holders if one.system), 0)
        if len(self.accounts) <= after and not self.was_common:
            return 0
        have: dict[int, int] = {}
        for one, held in self.holders.items():
            have[one.account] = max(have.get(one.account, 0), min(reach(one), held))
        return sum(have.values()) - max(have.values())


class AccountTrees(Generic[Holder]):
    """The prefix tree of each account, and the system prompts that accounts have sent.

    A system prompt is known as long as a sequence holds its tokens; later nothing could be forked.
    """

    def __init__(self) -> None:
        self._trees: dict[tuple[int, int], PrefixTree[Holder]] = {}
        self._sent: dict[bytes, Sent[Holder]] = {}

    def insert(self, tokens: Sequence[int], holder: Holder) -> None:
        """Put a holder on the path of its tokens, and remove it from its former path."""
        self._trees.setdefault(_tree_of(holder), PrefixTree()).insert(tokens, holder)
        system = holder.system
        if system is None or not system.after:
            return
        sent = self._sent.setdefault(system.digest, Sent())
        sent.holders[holder] = min(len(tokens), system.length)
        # One more than needed, since each account does not count for itself.
        if len(sent.accounts) <= system.after:
            sent.accounts.add(holder.account)

    def remove(self, holder: Holder) -> None:
        """Remove a holder, and the tokens that no other holder of its account has."""
        tree = self._trees.get(_tree_of(holder))
        if tree is not None:
            tree.remove(holder)
            if tree.is_empty:
                del self._trees[_tree_of(holder)]
        system = holder.system
        if system and system.after and (sent := self._sent.get(system.digest)):
            sent.holders.pop(holder, None)
            if not sent.holders:
                del self._sent[system.digest]

    def match(self, tokens: Sequence[int], reader: Owned) -> dict[Holder, int]:
        """Return how many first tokens each holder in the reader's tree has in common with them."""
        tree = self._trees.get(_tree_of(reader))
        return tree.match(tokens) if tree is not None else {}

    def readable(
        self, tokens: Sequence[int], reader: Holder, *, tile: int = 1
    ) -> dict[Holder, int]:
        """Return how many first tokens a sequence may fork from each holder, itself included.

        From holders of other accounts it is the system prompt, in whole tiles of ``tile`` tokens.
        """
        readable = self.match(tokens, reader)
        if system := reader.system:
            whole = system.length // tile * tile
            strangers = self.strangers(reader).items()
            readable |= {other: whole for other, held in strangers if held == system.length}
        return readable

    def strangers(self, holder: Holder) -> dict[Holder, int]:
        """Return the holders of other accounts that may share cells with a holder.

        They hold a common system prompt; the numbers are the tokens of it that they have.
        """
        system = holder.system
        sent = self._sent.get(system.digest) if system and system.after else None
        if system is None or sent is None or not sent.is_common(holder.account, system.after):
            return {}
        return {one: held for one, held in sent.holders.items() if one.account != holder.account}

    def is_common(self, system: SystemPrefix) -> bool:
        """Return whether every account may fork a system prompt, one that has sent it or not."""
        sent = self._sent.get(system.digest) if system.after else None
        return sent is not None and (sent.was_common or len(sent.accounts) > system.after)

    def make_common(self, system: SystemPrefix) -> None:
        """Let every account fork a system prompt that is held: it comes from the disk."""
        if system.after and (sent := self._sent.get(system.digest)):
            sent.was_common = True

    def alone(self, holder: Holder) -> int:
        """Return how many of its last tokens a holder shares with no other of its account."""
        return self._trees[_tree_of(holder)].alone(holder)

    def reached(self, reach: Callable[[Holder], int]) -> int:
        """Count the tokens that holders have, shared ones once; ``reach`` returns those of each.

        Common system prompts count as shared, though the first accounts may have read their own.
        """
        total = sum(tree.reached(reach) for tree in self._trees.values())
        return total - sum(sent.counted_again(reach) for sent in self._sent.values())

    def path(self, holder: Holder) -> Iterator[Node[Holder]]:
        """Walk over the runs of tokens of a holder, from its last one on."""
        return self._trees[_tree_of(holder)].path(holder)


def _tree_of(holder: Owned) -> tuple[int, int]:
    return holder.account, holder.adapters
