"""The radix tree, against the plainest way to compare lists."""

from __future__ import annotations

from itertools import takewhile

from hypothesis import given
from hypothesis import strategies as st

from jupyter_ollama.engine.prefix_tree import PrefixTree, common_length

tokens = st.lists(st.integers(0, 2), max_size=12)
long_tokens = st.lists(st.integers(0, 1), max_size=8).map(lambda ends: [7] * 130 + ends)


def common(one: list[int], other: list[int]) -> int:
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


@given(st.lists(tokens | long_tokens, max_size=8), tokens | long_tokens, st.data())
def test_match_returns_what_each_holder_shares(
    lists: list[list[int]], wanted: list[int], data: st.DataObject
) -> None:
    tree: PrefixTree[int] = PrefixTree()
    held: dict[int, list[int]] = {}
    for holder, items in enumerate(lists):
        tree.insert(items, holder)
        held[holder] = items
        if data.draw(st.booleans()):
            gone = data.draw(st.sampled_from(sorted(held)))
            tree.remove(gone)
            del held[gone]
    shared = {holder: common(items, wanted) for holder, items in held.items()}
    assert tree.match(wanted) == {holder: count for holder, count in shared.items() if count}
    for holder, items in held.items():
        others = [common(items, other) for h, other in held.items() if h != holder]
        assert tree.alone(holder) == len(items) - max(others, default=0)
    distinct = {tuple(items[: n + 1]) for items in held.values() for n in range(len(items))}
    nodes = {node for holder in held for node in tree.path(holder)}
    assert sum(len(node.tokens) for node in nodes) == len(distinct)
    reach = {holder: data.draw(st.integers(0, len(items) + 2)) for holder, items in held.items()}
    read = {
        tuple(items[: n + 1]) for h, items in held.items() for n in range(len(items))[: reach[h]]
    }
    beyond = sum(max(0, reach[holder] - len(items)) for holder, items in held.items())
    assert tree.reached(reach.__getitem__) == len(read) + beyond


def test_insert_moves_a_holder() -> None:
    tree: PrefixTree[str] = PrefixTree()
    tree.insert([1, 2, 3], "a")
    tree.insert([1, 9], "a")
    assert tree.match([1, 2, 3]) == {"a": 1}
    assert tree.match([1, 9]) == {"a": 2}


def test_common_length_looks_behind_the_first_stride() -> None:
    run = list(range(200))
    assert common_length(run, [5, *run[:150], -1], 1) == 150
    assert common_length(run, run, 0) == 200
    assert common_length(run[:10], run[:5], 0) == 5
