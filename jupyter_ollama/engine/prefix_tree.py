"""A radix tree over token ids that maps prefixes to their holders (SGLang, Zheng et al. 2024)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from typing import Generic, TypeVar

Holder = TypeVar("Holder")

STRIDE = 64
"""Tokens compared at once: lists are compared in C, single tokens in Python."""


class Node(Generic[Holder]):
    """A run of tokens without a fork, and all holders whose tokens lead through it."""

    __slots__ = ("children", "holders", "parent", "tokens")

    def __init__(self, tokens: list[int], parent: Node[Holder] | None) -> None:
        self.tokens = tokens
        self.parent = parent
        self.children: dict[int, Node[Holder]] = {}
        self.holders: set[Holder] = set()

    def split(self, length: int) -> Node[Holder]:
        """Give the first ``length`` tokens to a new node above this one, and return it."""
        assert self.parent
        above = Node(self.tokens[:length], self.parent)
        above.holders = set(self.holders)
        self.parent.children[above.tokens[0]] = above
        self.tokens = self.tokens[length:]
        above.children[self.tokens[0]] = self
        self.parent = above
        return above


class PrefixTree(Generic[Holder]):
    """Finds the holders that share a prefix with a list of tokens.

    The tree knows tokens only. The caller checks whether a holder has computed them.
    """

    def __init__(self) -> None:
        self._root: Node[Holder] = Node([], None)
        self._ends: dict[Holder, Node[Holder]] = {}

    def insert(self, tokens: Sequence[int], holder: Holder) -> None:
        """Put a holder on the path of its tokens, and remove it from its former path."""
        self.remove(holder)
        node, depth = self._root, 0
        while depth < len(tokens):
            child = node.children.get(tokens[depth])
            if child is None:
                child = Node(list(tokens[depth:]), node)
                node.children[tokens[depth]] = child
            else:
                common = common_length(child.tokens, tokens, depth)
                if common < len(child.tokens):
                    child = child.split(common)
            child.holders.add(holder)
            node, depth = child, depth + len(child.tokens)
        self._ends[holder] = node

    def remove(self, holder: Holder) -> None:
        """Remove a holder, and the tokens that no other one holds."""
        node: Node[Holder] | None = self._ends.pop(holder, None)
        while node is not None and node.parent is not None:
            node.holders.discard(holder)
            if not node.holders:
                del node.parent.children[node.tokens[0]]
            node = node.parent

    def match(self, tokens: Sequence[int]) -> dict[Holder, int]:
        """Return how many first tokens each holder has in common with ``tokens``, if any."""
        shared: dict[Holder, int] = {}
        node, depth = self._root, 0
        while depth < len(tokens):
            child = node.children.get(tokens[depth])
            if child is None:
                break
            common = common_length(child.tokens, tokens, depth)
            depth += common
            shared.update(dict.fromkeys(child.holders, depth))
            if common < len(child.tokens):
                break
            node = child
        return shared

    def alone(self, holder: Holder) -> int:
        """Return how many of its last tokens a holder shares with no other one."""
        mine = takewhile(lambda node: len(node.holders) == 1, self.path(holder))
        return sum(len(node.tokens) for node in mine)

    def reached(self, reach: Callable[[Holder], int]) -> int:
        """Count the tokens that holders have, shared ones once; ``reach`` returns those of each.

        Tokens that a holder has beyond those in the tree are its own.
        """
        total = 0
        for holder in self._ends:
            total += max(0, reach(holder) - sum(len(node.tokens) for node in self.path(holder)))
        nodes = [(self._root, 0)]
        while nodes:
            node, depth = nodes.pop()
            end = depth + len(node.tokens)
            most = max(map(reach, node.holders), default=0)
            total += max(0, min(most, end) - depth)
            nodes += ((child, end) for child in node.children.values())
        return total

    def path(self, holder: Holder) -> Iterator[Node[Holder]]:
        """Walk over the runs of tokens of a holder, from its last one on."""
        node = self._ends[holder]
        while node.parent is not None:
            yield node
            node = node.parent

    @property
    def is_empty(self) -> bool:
        """True if there are no holders."""
        return not self._ends

    def __contains__(self, holder: Holder) -> bool:
        return holder in self._ends


def common_length(run: list[int], tokens: Sequence[int], start: int) -> int:
    """Return how many tokens of ``run`` equal those of ``tokens`` from ``start`` on."""
    end = min(len(run), len(tokens) - start)
    length = 0
    while length < end:
        stride = min(STRIDE, end - length)
        if run[length : length + stride] != tokens[start + length : start + length + stride]:
            break
        length += stride
    while length < end and run[length] == tokens[start + length]:
        length += 1
    return length
