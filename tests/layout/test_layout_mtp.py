"""The head of a model in Ollama's layout drafts for it, with the answers of Ollama."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest
from drafting import Batches
from ollama_layout import DATA, truth
from plain_head import PlainHead
from runners import running

from jupyter_ollama.engine.events import Done
from jupyter_ollama.engine.loading import ModelLoader
from jupyter_ollama.engine.protocol import LoadSpec, RawPrompt
from jupyter_ollama.options import Options

MAKE = Callable[[str], Path]
SPEC = {"num_ctx": 256, "num_parallel": 4, "num_batch": 128}


@pytest.fixture(scope="module")
def qwen35(layout_model: MAKE) -> Path:
    return layout_model("qwen35")


def test_answers_stay_those_of_ollama(qwen35: Path) -> None:
    batches = Batches(qwen35, **SPEC)
    expected = list(truth("qwen35")["completions"].values())
    sequences = [
        batches.ask(number, answer["prompt_ids"], len(answer["tokens"]))
        for number, answer in enumerate(expected)
    ]
    drafted: dict[tuple[int, int], list[int]] = {}
    while batches.generator.busy:
        batches.finish(1)
        for sequence, track in batches.drafter._tracks.items():
            if track.drafts:
                drafted[sequence.params.request, track.start] = list(track.drafts)
    for number, answer in enumerate(expected):
        given = batches.answers[number]
        # Unlike in the recording, tokens may end the answer.
        assert given == answer["tokens"][: len(given)]
        assert len(given) >= 8
    assert len(drafted) > 20
    head = PlainHead(qwen35)
    for (number, start), drafts in drafted.items():
        prompt = expected[number]["prompt_ids"]
        misses = head.misses(sequences[number].tokens[:start], len(prompt), drafts)
        assert max(misses) < 0.05
    head.close()


def test_a_head_that_is_never_right_rests(qwen35: Path) -> None:
    """A head of random weights is never right, so that drafting must stop soon."""
    batches = Batches(qwen35, **SPEC)
    real = ModelLoader(LoadSpec(model=str(qwen35), **SPEC)).drafter()
    assert real
    batches.drafter.costs = real.costs
    batches.ask(1, truth("qwen35")["completions"]["Hello world"]["prompt_ids"], 200)
    drafted: dict[int, int] = {}
    while batches.generator.busy:
        batches.finish(1)
        for track in batches.drafter._tracks.values():
            drafted[track.start] = len(track.drafts)
    assert len(batches.answers[1]) > 50
    # The initial estimate is three of four right, which is too low after 13 wrong drafts.
    assert sum(count > 0 for count in drafted.values()) <= 16


@pytest.mark.parametrize("drafts", [0, 4])
async def test_pictures_are_answered_as_in_ollama(qwen35: Path, drafts: int) -> None:
    name, expected = next(iter(truth("qwen35")["pictures"].items()))
    prompt = RawPrompt(
        expected["prompt"].replace("<__media__>", "[img-0]"), [(DATA / name).read_bytes()]
    )
    options = Options(temperature=0, num_predict=12, draft_num_predict=drafts)
    async with running(qwen35, num_ctx=512, num_parallel=1) as runner:
        events = runner.generate(prompt, options, return_context=True)
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Done):
                    answer = event.context[-12:]
    assert answer == expected["tokens"][:12]


def test_a_draft_model_has_precedence_over_the_head(qwen35: Path) -> None:
    spec = LoadSpec(model=str(qwen35), **SPEC)
    with_head, without = (
        ModelLoader(spec),
        ModelLoader(msgspec.structs.replace(spec, draft=str(qwen35))),
    )
    assert with_head.drafter()
    assert without.drafter() is None
    layer = with_head.plan.weights.layers[-1]
    assert layer > 0
    assert without.plan.weights.total == with_head.plan.weights.total - layer
    assert without.generation_context().snapshots == 0
