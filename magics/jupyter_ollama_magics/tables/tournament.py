"""The first of many in an order that only comparisons of two tell, by few comparisons."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import pairwise

Pair = tuple[int, int]
Rounds = Generator[list[Pair], list[bool], list[int]]
"""Yields pairs to compare at a time, receives for each whether its first goes first, returns the
winners."""


def winners(count: int, k: int) -> Rounds:
    """Find the first ``k`` of the numbers below ``count``, in their order.

    It is a knock-out tournament: the winner of ``count`` - 1 comparisons is the first. Then only
    the matches of the winner are played again without it. These are at most ``count`` - 1 +
    (``k`` - 1) · ⌈log2 ``count``⌉ comparisons, none of them twice.
    """
    known: dict[Pair, bool] = {}
    levels: list[list[int | None]] = [list(range(count))]
    while len(levels[-1]) > 1:
        level = levels[-1]
        yield from _compare(_matches(level), known)
        levels.append([_winner(one, other, known) for one, other in _matches(level)])
    found: list[int] = []
    while len(found) < min(k, count):
        champion = levels[-1][0]
        assert champion is not None
        found.append(champion)
        if len(found) < min(k, count):
            yield from _replay(levels, champion, known)
    return found


def _replay(
    levels: list[list[int | None]], gone: int, known: dict[Pair, bool]
) -> Generator[list[Pair], list[bool], None]:
    """Play the matches of ``gone`` again, without it."""
    place = gone
    levels[0][place] = None
    for level, above in pairwise(levels):
        place //= 2
        one, other = _matches(level)[place]
        if one is not None and other is not None:
            yield from _compare([(one, other)], known)
        above[place] = _winner(one, other, known)


def _matches(level: list[int | None]) -> list[tuple[int | None, int | None]]:
    """Return neighbours as pairs; the last of an odd number has no opponent."""
    return [
        (level[at], level[at + 1] if at + 1 < len(level) else None)
        for at in range(0, len(level), 2)
    ]


def _compare(
    matches: Sequence[tuple[int | None, int | None]], known: dict[Pair, bool]
) -> Generator[list[Pair], list[bool], None]:
    """Ask for the results of matches that are not known."""
    new = [
        (min(one, other), max(one, other))
        for one, other in matches
        if one is not None and other is not None
    ]
    new = [pair for pair in new if pair not in known]
    if new:
        known.update(zip(new, (yield new), strict=True))


def _winner(one: int | None, other: int | None, known: dict[Pair, bool]) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    first, second = min(one, other), max(one, other)
    return first if known[first, second] else second
