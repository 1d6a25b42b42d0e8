"""Sets of adapters in one batch loop: each answer is that of its set alone, prefixes stay apart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from lora_files import write_lora
from runners import running
from steps import Steps

from jupyter_ollama.engine.account_trees import SystemPrefix
from jupyter_ollama.engine.adapted_runner import AdaptedRunner
from jupyter_ollama.engine.model_runner import ModelRunner
from jupyter_ollama.engine.sequence import Sequence
from jupyter_ollama.engine.turns import ROUND_SECONDS, Turns
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.options import Options

PROMPT = "Once upon a time there was a miller who had three sons, a mill, a donkey and a cat. " * 4
TOKENS = 12
SETS = (0, 1, 2)


@pytest.fixture(scope="module")
def adapters(smollm2_f16: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[str]]:
    """The files of each set: none, one, and two of which one is in the set before, too."""
    folder = tmp_path_factory.mktemp("adapters")
    first = write_lora(smollm2_f16, folder / "first.gguf", seed=1, alpha=4)
    second = write_lora(
        smollm2_f16, folder / "second.gguf", seed=2, tensor="blk.3.ffn_up.weight", alpha=4
    )
    return {0: [], 1: [str(first)], 2: [str(first), str(second)]}


class Loop(Steps):
    """A batch loop with sets of adapters, which records the set of each step."""

    def __init__(self, path: Path, sets: dict[int, list[str]], **spec: object) -> None:
        super().__init__(path, parallel=6, num_ctx=512, **spec)
        for number, paths in sets.items():
            if paths:
                self.loaded.load_adapters(number, paths)
        self.sets: list[int] = []

    def ask(self, adapters: int, prompt: str = PROMPT, **details: object) -> Sequence:
        """Queue a prompt for a set."""
        return self.add(prompt, TOKENS, adapters=adapters, top_logprobs=0, **details)

    def step(self) -> None:
        self.generator.step()
        self.sets.append(self.context.applied)

    def finish(self, steps: int = 10**6) -> None:
        while self.generator.busy and steps:
            self.step()
            steps -= 1


@pytest.fixture
def loop(smollm2_f16: Path, adapters: dict[int, list[str]]) -> Iterator[Loop]:
    loop = Loop(smollm2_f16, adapters)
    yield loop
    loop.context.close()


def answer(sequence: Sequence) -> tuple[list[int], np.ndarray]:
    """Return the tokens of an answer and their log-probabilities."""
    assert sequence.generated == TOKENS
    tokens = sequence.tokens[len(sequence.prompt) :]
    return tokens, np.array([one.logprob for one in sequence.logprobs])


def assert_equal(found: Sequence, expected: Sequence) -> None:
    """Compare answers; the shape of a batch changes the last bits of a probability."""
    assert answer(found)[0] == answer(expected)[0]
    assert answer(found)[1] == pytest.approx(answer(expected)[1], abs=0.02)


@pytest.fixture(scope="module")
def alone(smollm2_f16: Path, adapters: dict[int, list[str]]) -> dict[int, Sequence]:
    """The answer of each set, from a loop that has no other."""
    answers = {}
    for number in SETS:
        loop = Loop(smollm2_f16, {number: adapters[number]})
        answers[number] = loop.ask(number)
        loop.finish()
        loop.context.close()
    assert len({tuple(answer(one)[0]) for one in answers.values()}) == len(SETS)
    return answers


def test_one_after_the_other(loop: Loop, alone: dict[int, Sequence]) -> None:
    for number in (0, 1, 2, 1, 0, 2):
        sequence = loop.ask(number)
        loop.finish()
        # Whatever ran before: the same bits.
        assert answer(sequence)[0] == answer(alone[number])[0]
        assert (answer(sequence)[1] == answer(alone[number])[1]).all()


def test_all_at_once(loop: Loop, alone: dict[int, Sequence]) -> None:
    both = [(number, loop.ask(number)) for number in (*SETS, *SETS)]
    loop.finish()
    for number, sequence in both:
        assert_equal(sequence, alone[number])
    assert {*loop.sets} == {*SETS}


def test_streams_of_several_sets_take_turns(loop: Loop) -> None:
    streams = [loop.ask(number, "Once") for number in SETS]
    while not all(stream.generated for stream in streams):
        loop.step()
    before = [stream.generated for stream in streams]
    for _ in range(len(SETS)):
        loop.generator._turns.end()
        loop.step()
    assert [stream.generated - 1 for stream in streams] == before


def test_prefixes_of_sets_stay_apart(loop: Loop) -> None:
    for number in SETS:
        first = loop.ask(number)
        loop.finish()
        assert first.cache.reused == 0
    for number in SETS:
        again = loop.ask(number)
        loop.finish()
        assert again.cache.reused >= 64


def test_a_common_system_prompt_is_shared_within_a_set(loop: Loop) -> None:
    length = len(loop.model.tokenize(PROMPT, special=True))

    def ask(adapters: int, account: int) -> int:
        system = SystemPrefix(b"rules", length, 1)
        text = f"{PROMPT}\nQuestion {account}?"
        sequence = loop.ask(adapters, text, account=account, system=system)
        loop.finish()
        return sequence.cache.reused

    assert ask(0, 1) == ask(1, 2) == 0
    assert ask(1, 3) >= 64
    assert ask(2, 4) == 0


def test_a_set_that_is_freed_leaves_nothing(
    loop: Loop, adapters: dict[int, list[str]], alone: dict[int, Sequence]
) -> None:
    size = loop.loaded.log.host_bytes
    loop.ask(1)
    loop.finish()
    loop.generator.leave(1)
    loop.loaded.free_adapters(1)
    # Its file is still in the second set.
    second = loop.ask(2)
    loop.finish()
    assert_equal(second, alone[2])
    assert loop.loaded.log.host_bytes < size
    loop.loaded.load_adapters(7, adapters[1])
    again = loop.ask(7)
    loop.finish()
    assert again.cache.reused == 0
    assert_equal(again, alone[1])


def test_a_draft_model_drafts_for_every_set(
    smollm2_f16: Path, adapters: dict[int, list[str]], alone: dict[int, Sequence]
) -> None:
    loop = Loop(smollm2_f16, adapters, draft=str(smollm2_f16))
    for number in SETS:
        sequence = loop.ask(number, drafts=4)
        loop.finish()
        assert_equal(sequence, alone[number])
    loop.context.close()


def test_turns_bound_the_pause_of_each_set() -> None:
    now = 0.0
    turns = Turns(lambda: now)
    last: dict[int, float] = {}
    for _ in range(1000):
        chosen = turns.next([(0, 0), (1, 0), (2, 0), (2, 0)])
        assert now - last.get(chosen, now) < 2 * ROUND_SECONDS
        now += 0.01
        last[chosen] = now
    assert min(last.values()) > now - 2 * ROUND_SECONDS


def test_an_account_gets_no_more_time_by_several_sets() -> None:
    now = 0.0
    turns = Turns(lambda: now)
    seconds = {1: 0.0, 2: 0.0}
    requests = [(1, 1), (2, 1), (3, 1), (4, 2)]
    for _ in range(4000):
        chosen = turns.next(requests)
        now += 0.01
        seconds[dict(requests)[chosen]] += 0.01
    assert seconds[1] == pytest.approx(seconds[2], rel=0.1)


def test_a_set_that_is_alone_keeps_its_turn() -> None:
    turns = Turns()
    assert [turns.next([(3, 0)]) for _ in range(3)] == [3, 3, 3]
    assert turns.next([]) == 3
    turns.end()
    assert turns.next([(3, 0), (4, 0)]) == 4


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the norm of the difference, as a part of the norm: batches of other shapes round."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


async def test_embeddings_and_scores_of_all_sets_at_once(
    smollm2_f16: Path, adapters: dict[int, list[str]]
) -> None:
    texts = ["The cat sat.", PROMPT * 2, "A short text."]

    async def measured(runner: ModelRunner) -> np.ndarray:
        embedded = await runner.embed(texts, 512)
        scored = await runner.score(PROMPT, [" The cat", " A dog barks."], 512)
        logprobs = [one.logprob for tokens in scored.continuations for one in tokens]
        return np.concatenate([np.frombuffer(embedded.rows, np.float32), logprobs])

    expected = {}
    for number in SETS:
        async with running(smollm2_f16, num_ctx=512, num_batch=128) as runner:
            await runner.load_adapters(1, adapters[number])
            expected[number] = await measured(AdaptedRunner(runner, 1))
    assert difference(expected[0], expected[1]) > 0.02
    async with running(smollm2_f16, num_ctx=512, num_batch=128) as runner:
        for number in SETS[1:]:
            await runner.load_adapters(number, adapters[number])
        ways = [AdaptedRunner(runner, number) for number in SETS]
        found = await asyncio.gather(*map(measured, ways))
        for way, numbers in zip(ways, found, strict=True):
            assert difference(numbers, expected[way.adapters]) < 0.005


async def test_embeddings_of_an_encoder(minilm: Path, tmp_path: Path) -> None:
    lora = write_lora(minilm, tmp_path / "lora.gguf", tensor="blk.0.ffn_up.weight", alpha=4)
    texts = [f"Text number {n} about a cat and a dog." for n in range(200)]
    async with running(minilm) as runner:
        plain = await runner.embed(texts, 256)
    async with running(minilm) as runner:
        await runner.load_adapters(1, [str(lora)])
        adapted = AdaptedRunner(runner, 1)
        first, second, third = await asyncio.gather(
            adapted.embed(texts, 256), runner.embed(texts, 256), adapted.embed(texts, 256)
        )
    rows = [np.frombuffer(one.rows, np.float32) for one in (plain, first, second, third)]
    assert rows[2] == pytest.approx(rows[0], abs=0.01)
    assert rows[3] == pytest.approx(rows[1], abs=0.01)
    assert abs(rows[1] - rows[0]).max() > 0.05


async def test_adapters_that_cannot_be_loaded_leave_the_runner(
    smollm2: Path, minilm: Path, tmp_path: Path
) -> None:
    good = write_lora(smollm2, tmp_path / "good.gguf")
    (tmp_path / "cut.gguf").write_bytes(good.read_bytes()[:-1000])
    (tmp_path / "text.gguf").write_text("no adapter")
    other = write_lora(minilm, tmp_path / "other.gguf", tensor="blk.0.attn_q.weight")
    options = Options(temperature=0, num_predict=3)
    async with running(smollm2, num_ctx=256) as runner:
        size = runner.ready.size
        for number, path in enumerate(["cut.gguf", "text.gguf", "absent.gguf", other.name], 1):
            with pytest.raises(OllamaError, match=f"adapter|{path}"):
                await runner.load_adapters(number, [str(good), str(tmp_path / path)])
        assert runner.is_alive
        scored = await runner.score("The cat", [" sat."], 256)
        assert scored.continuations
        assert runner.ready.size == size
        assert await runner.load_adapters(9, [str(good)]) > (0, 0)
        assert runner.ready.size > size
        assert options.num_predict == 3
