"""Which sequences may share a prefix: a tree for each account, and common system prompts.

A sequence forks and waits for sequences of its own account. From another account it can fork only
the system prompt, as a whole, and only once enough other accounts have sent the same one. Each
account has its own tree, so the answers of the tree for a sequence of one account (covered, alone)
never depend on the tokens of another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

from .prefix_tree import Node, PrefixTree


class SystemPrefix(NamedTuple):
    """The system prompt that a sequence begins with.

    ``digest`` covers its whole text, tools included; the first ``length`` tokens of the sequence
    depend on that text alone. Another account may fork them once ``after`` accounts besides it
    have sent the text.
    """

    digest: bytes
    length: int
    after: int


class Owned(Protocol):
    """A sequence, running or finished, with its account and its system prompt."""

    @property
    def account(self) -> int:
        """An opaque number."""

    @property
    def system(self) -> SystemPrefix | None:
        """None where no part may ever be forked by others."""


Holder = TypeVar("Holder", bound=Owned)


@dataclass(eq=False)
class Sent(Generic[Holder]):
    """A system prompt: accounts that sent it, as many as matter, and the tokens of each holder."""

    accounts: set[int] = field(default_factory=set)
    holders: dict[Holder, int] = field(default_factory=dict)

    def is_common(self, account: int, after: int) -> bool:
        """Return whether an account may fork it: the account itself does not count."""
        return len(self.accounts - {account}) >= after

    def counted_again(self, reach: Callable[[Holder], int]) -> int:
        """Count the tokens that several accounts have once it is common, without those of one."""
        after = next((one.system.after for one in self.holders if one.system), 0)
        if len(self.accounts) <= after:
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
        self._trees: dict[int, PrefixTree[Holder]] = {}
        self._sent: dict[bytes, Sent[Holder]] = {}

    def insert(self, tokens: Sequence[int], holder: Holder) -> None:
        """Put a holder on the path of its tokens, and remove it from its former path."""
        self._trees.setdefault(holder.account, PrefixTree()).insert(tokens, holder)
        system = holder.system
        if system is None:
            return
        sent = self._sent.setdefault(system.digest, Sent())
        sent.holders[holder] = min(len(tokens), system.length)
        # One more than needed, since each account does not count for itself.
        if len(sent.accounts) <= system.after:
            sent.accounts.add(holder.account)

    def remove(self, holder: Holder) -> None:
        """Remove a holder, and the tokens that no other holder of its account has."""
        tree = self._trees.get(holder.account)
        if tree is not None:
            tree.remove(holder)
            if tree.is_empty:
                del self._trees[holder.account]
        if holder.system and (sent := self._sent.get(holder.system.digest)):
            sent.holders.pop(holder, None)
            if not sent.holders:
                del self._sent[holder.system.digest]

    def match(self, tokens: Sequence[int], account: int) -> dict[Holder, int]:
        """Return how many first tokens each holder of an account has in common with ``tokens``."""
        tree = self._trees.get(account)
        return tree.match(tokens) if tree is not None else {}

    def readable(
        self, tokens: Sequence[int], reader: Holder, *, tile: int = 1
    ) -> dict[Holder, int]:
        """Return how many first tokens a sequence may fork from each holder, itself included.

        From holders of other accounts it is the system prompt, in whole tiles of ``tile`` tokens.
        """
        readable = self.match(tokens, reader.account)
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
        sent = self._sent.get(system.digest) if system else None
        if system is None or sent is None or not sent.is_common(holder.account, system.after):
            return {}
        return {one: held for one, held in sent.holders.items() if one.account != holder.account}

    def alone(self, holder: Holder) -> int:
        """Return how many of its last tokens a holder shares with no other of its account."""
        return self._trees[holder.account].alone(holder)

    def reached(self, reach: Callable[[Holder], int]) -> int:
        """Count the tokens that holders have, shared ones once; ``reach`` returns those of each.

        Common system prompts count as shared, though the first accounts may have read their own.
        """
        total = sum(tree.reached(reach) for tree in self._trees.values())
        return total - sum(sent.counted_again(reach) for sent in self._sent.values())

    def path(self, holder: Holder) -> Iterator[Node[Holder]]:
        """Walk over the runs of tokens of a holder, from its last one on."""
        return self._trees[holder.account].path(holder)
