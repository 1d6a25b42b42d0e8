"""On a CPU, equal requests get equal answers, whatever other requests run in between."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from runners import Answer, answer_with_probabilities, running

from jupyter_ollama.engine.protocol import ChatPrompt, RawPrompt
from jupyter_ollama.engine.reading_order import (
    NEVER,
    Reading,
    missing,
    next_count,
    reusable,
)
from jupyter_ollama.options import Options
from jupyter_ollama.prompt.messages import Message

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "once", "in", "Rome"]


def prompts_with_common_beginnings(rng: random.Random) -> list[str]:
    """Texts of a few to some 900 tokens, of which many begin alike."""
    texts = [
        "the",
        "the quick brown",
        "the quick brown fox jumps",
        "the quick brown fox jumps over",
    ]
    for length in (8, 60, 63, 64, 130, 500, 640, 700):
        beginning = " ".join(rng.choices(WORDS, k=length))
        texts += [f"{beginning} {' '.join(rng.choices(WORDS, k=rng.randint(1, 80)))}"]
        texts += [beginning, f"{beginning} and so"]
    return texts


@pytest.mark.parametrize("kind", ["smollm2_f16", "smollm2_q4_0"])
async def test_the_same_request_gets_the_same_answer_after_any_history(
    request: pytest.FixtureRequest, kind: str
) -> None:
    path: Path = request.getfixturevalue(kind)
    rng = random.Random(kind)
    texts = prompts_with_common_beginnings(rng)
    options = [Options(temperature=0, num_predict=6), Options(seed=7, num_predict=6)]
    answers: dict[tuple[str, int], Answer] = {}
    reused = 0
    async with running(path, num_ctx=1024) as runner:
        for _ in range(30):
            text, way = rng.choice(texts), rng.randrange(2)
            answer, done = await answer_with_probabilities(runner, RawPrompt(text), options[way])
            assert len(answer) == done.eval_count
            reused += done.cached
            assert answers.setdefault((text, way), answer) == answer
    assert reused > 1000
    # Nor does it matter whether there was a request before.
    (text, way), answer = max(answers.items(), key=lambda item: len(item[0][0]))
    async with running(path, num_ctx=1024) as runner:
        assert (await answer_with_probabilities(runner, RawPrompt(text), options[way]))[0] == answer


async def test_drafts_and_turns_of_conversations_are_repeatable(smollm2_f16: Path) -> None:
    """Answers long enough to be drafted, and turns behind them, with other requests between."""
    options = Options(temperature=0, num_predict=48)
    opening = [Message("user", "Count: one two three four one two three four one two three four")]
    other = [Message("user", "Count: one two three four, please.")]
    first: list[Answer] = []
    async with running(smollm2_f16, num_ctx=1024) as runner:
        for _ in range(3):
            answer, _ = await answer_with_probabilities(runner, ChatPrompt(opening), options)
            text = b"".join(piece for piece, _ in answer).decode().removesuffix("<|im_end|>")
            turns = [*opening, Message("assistant", text), Message("user", "Go on.")]
            second, done = await answer_with_probabilities(runner, ChatPrompt(turns), options)
            assert done.cached >= len(answer)
            await answer_with_probabilities(runner, ChatPrompt(other), options)
            first = first or [answer, second]
            assert [answer, second] == first


def kinds(readings: list[Reading], cached: int, filled_from: int) -> list[str]:
    """Return how each token is computed: in a tile, in a small batch or as a generated one."""
    found: list[str] = []
    for reading in readings:
        found += ["generated"] * (reading.start - len(found))
        found += batches(reading.start, reading, filled_from)
    return (found + ["generated"] * (cached - len(found)))[:cached]


def batches(done: int, reading: Reading, filled_from: int) -> list[str]:
    """Return how the tokens of a prompt from ``done`` on are computed."""
    found: list[str] = []
    end = reading.end
    if reading.is_short:
        assert done == reading.start
        return [f"one of {end - done}"] * (end - done)
    while done < end:
        count = next_count(done, end, 200, filled_from=filled_from)
        filled = count + missing(count, done, filled_from=filled_from)
        assert filled >= 8
        assert filled % 4 == 0
        found += ["tile" if filled >= 64 else "row"] * count
        done += count
    return found


@pytest.mark.parametrize("filled_from", [NEVER, 512, 64])
def test_shared_tokens_would_have_been_read_in_the_same_way(filled_from: int) -> None:
    rng = random.Random(1)
    for _ in range(3000):
        end = rng.choice((0, 212)) if filled_from < NEVER else 0
        readings: list[Reading] = []
        for _ in range(rng.randint(1, 3)):
            start = end + rng.randint(1, 90) if readings else 0
            end = max(end, start) + rng.randint(1, rng.choice((10, 300)))
            readings.append(Reading(start, end))
        cached = end + rng.randint(0, 60)
        common, wanted = rng.randint(0, cached), rng.randint(1, rng.choice((10, 400)))
        wanted += common
        length, mine = reusable(readings, cached, common, wanted, filled_from=filled_from)
        assert 0 <= length <= common
        known, found = kinds(readings, cached, filled_from), kinds(mine, wanted, filled_from)
        assert found[:length] == known[:length]
        assert mine[-1].end == wanted
        # The following tokens are read as if nothing had been cached.
        assert found[length:] == batches(length, mine[-1], filled_from)


def test_long_prompts_share_all_of_their_common_prefix() -> None:
    readings = [Reading(0, 1000)]
    for common in (513, 777, 999):
        assert reusable(readings, 1000, common, 2000, filled_from=512)[0] == common
        assert reusable(readings, 1000, common, 2000)[0] == common // 64 * 64


def test_batches_of_a_prompt_are_whole_tiles_or_less_than_one() -> None:
    for end in range(1, 400):
        for most in (8, 64, 100, 512):
            done = 0
            while done < end:
                count = next_count(done, end, most)
                assert count > 0
                assert count < 64 or (done % 64 == 0 and count % 64 == 0 and done + count < end)
                done += count
            assert done == end
