"""Prompts of several accounts: short ones are first, and long ones are read all the same."""

from __future__ import annotations

import random
from itertools import count
from pathlib import Path

import pytest
from steps import Steps, fix_chunk

CHUNK = 8
"""Tokens of prompts in a step: the least, as on a host that is busy with other work."""
LONG, SHORT = 160, 24


def prompt(length: int, number: int) -> list[int]:
    """Return tokens that no other prompt begins with."""
    return random.Random(number).choices(range(100, 30_000), k=length)


@pytest.fixture
def steps(smollm2: Path, monkeypatch: pytest.MonkeyPatch) -> Steps:
    fix_chunk(monkeypatch, CHUNK)
    return Steps(smollm2, parallel=8)


def steps_beside_others(steps: Steps, *, stream: bool, most: int = 600) -> dict[int, int]:
    """Return the steps until long prompts of account 1 are answered while others ask all the time.

    The first number is for a question of account 1 behind its own long prompt.
    """
    numbers = count(10)
    steps.add(prompt(LONG, 1), 1, request=1, account=1, stream=stream)
    steps.add(prompt(SHORT, 2), 1, request=2, account=1, stream=stream)
    asked: list[int] = []
    found: dict[int, int] = {}
    for step in range(most):
        while sum(number not in steps.answers for number in asked) < 6:
            asked.append(next(numbers))
            account = 2 + asked[-1] % 2
            steps.add(
                prompt(SHORT, asked[-1]), 1, request=asked[-1], account=account, stream=stream
            )
        steps.finish(1)
        found |= {n: step for n in (1, 2) if n in steps.answers and n not in found}
        if len(found) == 2:
            break
    return found


@pytest.mark.parametrize("stream", [False, True])
def test_a_long_prompt_is_read_beside_those_of_others(steps: Steps, *, stream: bool) -> None:
    found = steps_beside_others(steps, stream=stream)
    assert {*found} == {1, 2}, "the prompts of account 1 waited for as long as others asked"
    assert max(found.values()) < 8 * (LONG + SHORT) / CHUNK


def test_a_short_question_hardly_waits_for_a_long_prompt(steps: Steps) -> None:
    steps.add(prompt(LONG, 1), 1, request=1, account=1)
    steps.finish(2)
    steps.add(prompt(SHORT, 2), 1, request=2, account=2)
    steps.finish(-(-SHORT // CHUNK) + 1)
    assert 2 in steps.answers
    assert 1 not in steps.answers


def test_a_prompt_goes_on_however_slow_the_host_is(
    smollm2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that has no time for prompts holds a few of their tokens all the same."""
    fix_chunk(monkeypatch, 0)
    steps = Steps(smollm2, parallel=4)
    first = steps.add(prompt(LONG, 1), 1, account=1)
    second = steps.add(prompt(SHORT, 2), 1, account=2, stream=False)
    steps.finish(100)
    assert (first.generated, second.generated) == (1, 1)
    steps.context.close()
