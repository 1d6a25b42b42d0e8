"""Sequences of several accounts in one batch loop: the forks, counted in tokens decoded."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
import tiny_vision
from plain_loop import PlainLoop
from steps import Steps, fix_chunk

from jupyter_ollama.engine.account_trees import SystemPrefix
from jupyter_ollama.engine.batch import Batch
from jupyter_ollama.engine.reading_order import TILE, Reading, reusable
from jupyter_ollama.engine.sequence import Sequence

RULES = "you.teach.the.children.of.a.town.by.the.sea.in.short.words.only.and.never.give.the.answer."
QUESTIONS = ["what.is.rain?", "who.made.wind?", "why.is.sand?", "are.fish.ok?", "how.do.boats.go?"]


class Accounts(Steps):
    """A batch loop that counts the tokens it decodes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, parallel=6)
        self.decoded = 0
        decode = self.context.decode

        def counting(batch: Batch) -> int:
            self.decoded += sum(sequence.step.scheduled for sequence in self.generator.running)
            return decode(batch)

        self.context.decode = counting  # type: ignore[method-assign]

    def send(self, account: int, text: str, system: str = "", *, predict: int = 1) -> Sequence:
        """Queue a prompt that needs three other accounts to share its system prompt."""
        prefix = SystemPrefix(system.encode(), 1 + len(system), 3) if system else None
        return self.add(system + text, predict, account=account, system=prefix)

    def decode_all(self) -> int:
        """Run all queued sequences and return how many tokens were decoded."""
        before = self.decoded
        self.finish()
        return self.decoded - before


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose tokens are bytes."""
    return tiny_vision.write_language_model(tmp_path_factory.mktemp("bytes") / "model.gguf")


@pytest.fixture
def steps(model: Path) -> Iterator[Accounts]:
    steps = Accounts(model)
    yield steps
    steps.context.close()


def test_simultaneous_accounts_do_not_wait_for_each_other(steps: Accounts) -> None:
    for account in (1, 2):
        steps.send(account, RULES)
    assert steps.decode_all() == 2 * (1 + len(RULES))
    for question in QUESTIONS[2:4]:
        steps.send(3, RULES + question)
    assert steps.decode_all() == 1 + len(RULES) + sum(map(len, QUESTIONS[2:4]))


def test_tokens_covered_by_another_account_are_kept(steps: Accounts) -> None:
    """Otherwise an account could observe by its own prompt that another has sent a longer one."""
    steps.send(1, RULES)
    steps.decode_all()
    steps.send(2, RULES + QUESTIONS[0])
    steps.decode_all()
    again = steps.send(1, RULES)
    steps.decode_all()
    assert again.cache.reused == len(again.prompt) - 1


@pytest.mark.parametrize(("count", "readings"), [(3, 3), (4, 1), (5, 1)])
def test_a_system_prompt_is_common_once_enough_have_sent_it(
    steps: Accounts, count: int, readings: int
) -> None:
    """Requests that arrive together read it once, if there are enough of them."""
    for account, question in zip(range(1, count + 1), QUESTIONS, strict=False):
        steps.send(account, question, RULES)
    own = sum(map(len, QUESTIONS[:count]))
    assert steps.decode_all() == readings * (1 + len(RULES)) + own
    assert steps.generator.tokens_in_cells == readings * (1 + len(RULES)) + own


def test_a_prefix_sent_by_too_few_accounts_is_not_shared(steps: Accounts) -> None:
    """This holds however often it is sent; the common part discloses no other part."""
    for account in (1, 2, 3, 3):
        steps.send(account, QUESTIONS[0], RULES)
        steps.decode_all()
    other = steps.send(3, QUESTIONS[1], RULES)
    steps.decode_all()
    assert other.cache.reused >= len(RULES) // 64 * 64
    new = steps.send(4, QUESTIONS[0], RULES)
    steps.decode_all()
    assert new.cache.reused == len(RULES) // 64 * 64


def test_an_account_does_not_count_for_itself(steps: Accounts) -> None:
    """Otherwise an account that lost its prefix could observe that others have it."""
    for account in (1, 2, 4):
        steps.send(account, QUESTIONS[0], RULES)
        steps.decode_all()
    store = steps.generator._cache._store
    (lost,) = (prefix for prefix in store._prefixes if prefix.account == 4)
    store.drop(lost)
    again = steps.send(4, QUESTIONS[1], RULES)
    steps.decode_all()
    assert again.cache.reused == 0


@pytest.mark.parametrize("times", [1, 2, 9])
def test_later_prompts_do_not_disclose_the_length_of_another_prompt(
    steps: Accounts, times: int
) -> None:
    """Tokens that one account forks beside another count for its next prompt, which runs alone."""
    for account in (1, 2, 3):
        steps.send(account, QUESTIONS[0], RULES)
        steps.decode_all()
    long = steps.send(1, QUESTIONS[3] * times, RULES, predict=40)
    while long.generated < 4:
        steps.generator.step()
    beside = steps.send(4, QUESTIONS[1], RULES, predict=4)
    steps.decode_all()
    later = steps.send(4, QUESTIONS[2], RULES)
    steps.decode_all()
    assert [beside.cache.reused, later.cache.reused] == [1 + len(RULES), 64]


def test_a_class_that_arrives_during_the_first_step_reads_the_prompt_once(steps: Accounts) -> None:
    """A lone prompt is read in whole tiles first: the others wait for its remainder."""
    first = steps.send(1, RULES + QUESTIONS[0])
    steps.generator.step()
    assert first.cache.cached == 64
    others = [steps.send(1, RULES + question) for question in QUESTIONS[1:]]
    steps.decode_all()
    assert all(one.cache.reused > len(RULES) for one in others)


def test_a_shift_does_not_move_cells_that_other_accounts_share(
    model: Path, steps: Accounts
) -> None:
    """One fills its context while others continue behind the same cells of a system prompt."""
    system = (RULES * 2)[:160]  # more than a shift drops
    shifted = steps.send(1, QUESTIONS[0] * 4, system, predict=80)
    others = [
        steps.send(account, question, system, predict=80)
        for account, question in enumerate(QUESTIONS[1:], 2)
    ]
    steps.decode_all()
    assert shifted.cache.exact < len(system)
    assert sum(one.cache.reused > len(system) for one in (shifted, *others)) == 4
    loop = PlainLoop(model)
    for one in others:
        answer = one.tokens[len(one.prompt) :]
        assert (len(answer), one.generated) == (80, 80)
        assert max(loop.misses(one.prompt, answer)) < 0.01
    loop.close()


@pytest.mark.parametrize("length", [64, 65, 127, 128, 190, 256])
def test_the_shared_part_does_not_depend_on_the_rest_of_the_other_prompt(length: int) -> None:
    """A request that runs alone has to compute the same numbers as without the other one."""
    whole = length // TILE * TILE
    rests = (1, 2, 3, 4, 5, 59, 63, 64, 65, 66, 130, 200)
    for mine, others, answer in product(rests, rests, (0, 1, 40)):
        stop = length + others
        readings = [Reading(0, stop), Reading(stop + answer, stop + answer + 70)]
        for known in (readings[:1], readings):
            cached = known[-1].end + answer
            assert reusable(known, cached, whole, length + mine)[0] == whole


def test_a_short_prompt_does_not_wait_for_a_long_one_of_another_account(
    steps: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other step reads prompts that can be finished, and none of the others."""
    fix_chunk(monkeypatch, 40)
    long = steps.send(1, RULES * 3, predict=4)
    steps.generator.step()
    shorts = [steps.send(2, QUESTIONS[0][:30], predict=4), steps.send(3, QUESTIONS[1][:9])]
    read = long.cache.cached
    steps.generator.step()
    assert [short.generated for short in shorts] == [1, 1]
    assert long.cache.cached == read
    steps.generator.step()
    assert long.cache.cached > read
    steps.finish()
    assert long.generated == 4
