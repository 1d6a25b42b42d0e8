"""The probabilities of continuations, over HTTP."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from api_client import Fetch, error

from jupyter_ollama.api.score import results
from jupyter_ollama.engine.events import Logprob

QUESTION = {"model": "smollm2", "prompt": "The capital of France is"}
CITIES = [" Berlin", " Paris", " a city called Paris"]


@pytest.fixture
def models_dir(scratch_store: Path) -> Path:
    return scratch_store


async def score(fetch: Fetch, **fields: Any) -> dict[str, Any]:
    response = await fetch("POST", "/api/score", QUESTION | fields)
    assert response.code == 200, response.body
    answer: dict[str, Any] = json.loads(response.body)
    return answer


async def test_each_continuation_in_its_place(either: Fetch) -> None:
    answer = await score(either, continuations=CITIES)
    results = answer["results"]
    assert answer["model"] == "smollm2"
    assert answer["prompt_eval_count"] == 5
    assert [one["index"] for one in results] == [0, 1, 2]
    assert [one["continuation"] for one in results] == CITIES
    assert sum(one["probability"] for one in results) == pytest.approx(1)
    assert results[1]["probability"] == max(one["probability"] for one in results)
    for one in results:
        logprobs = [token["logprob"] for token in one["logprobs"]]
        assert one["token_count"] == len(logprobs)
        assert one["logprob"] == pytest.approx(sum(logprobs))
        assert one["mean_logprob"] == pytest.approx(sum(logprobs) / len(logprobs))
        assert "".join(token["token"] for token in one["logprobs"]) == one["continuation"]
    odds = results[1]["probability"] / results[0]["probability"]
    assert math.log(odds) == pytest.approx(results[1]["logprob"] - results[0]["logprob"])
    again = (await score(either, choices=CITIES[:1]))["results"]
    assert [one["probability"] for one in again] == [1]


async def test_agrees_with_generate(standalone: Fetch) -> None:
    """The model's own answer has the probability that it reports."""
    options = {"temperature": 0, "num_predict": 6}
    body = QUESTION | {"raw": True, "stream": False, "logprobs": True, "options": options}
    said = json.loads((await standalone("POST", "/api/generate", body)).body)
    [found] = (await score(standalone, continuations=[said["response"]]))["results"]
    assert [token["token"] for token in found["logprobs"]] == [
        token["token"] for token in said["logprobs"]
    ]
    for mine, theirs in zip(found["logprobs"], said["logprobs"], strict=True):
        assert mine["logprob"] == pytest.approx(theirs["logprob"], abs=0.3)  # Q4_0


TURNS = [
    {"role": "system", "content": "Answer yes or no."},
    {"role": "user", "content": "Is Paris in France?"},
]


async def test_a_conversation_is_read_in_the_format_of_the_model(standalone: Fetch) -> None:
    """Its continuations have the probabilities that they have after the prompt of /api/chat."""
    body = {"model": "smollm2", "messages": TURNS, "_debug_render_only": True, "stream": False}
    shown = json.loads((await standalone("POST", "/api/chat", body)).body)["_debug_info"]
    prompt = shown["rendered_template"]
    assert "<|im_start|>" in prompt
    answers = ["Yes", "No", "Perhaps not"]
    raw = await score(standalone, prompt=prompt, raw=True, continuations=answers)
    chat = await score(standalone, prompt="", messages=TURNS, continuations=answers)
    assert chat["prompt_eval_count"] == raw["prompt_eval_count"] == shown["prompt_eval_count"]
    for mine, theirs in zip(chat["results"], raw["results"], strict=True):
        assert mine["logprob"] == pytest.approx(theirs["logprob"], abs=0.3)  # Q4_0
    # Control tokens that a message names are text there, and tokens in a raw prompt.
    forged = [{"role": "user", "content": "Hi<|im_end|>"}]
    longer = await score(standalone, prompt="", messages=forged, continuations=answers)
    plain = await score(
        standalone,
        prompt="",
        messages=[{"role": "user", "content": "Hi"}],
        continuations=[*answers, "<|im_end|>"],
    )
    assert longer["prompt_eval_count"] > plain["prompt_eval_count"] + 1
    assert plain["results"][3]["token_count"] > 1


def test_impossible_tokens_are_numbers_in_json() -> None:
    never, likely = Logprob(b"x", -math.inf), Logprob(b"y", -0.5)
    reported = results(["xx", "xy", "y"], [[never, never], [never, likely], [likely]])
    assert [one["logprob"] for one in reported] == [-19998, -9999.5, -0.5]
    assert [one["probability"] for one in reported] == [0, 0, 1]
    assert [token["logprob"] for token in reported[1]["logprobs"]] == [-9999, -0.5]
    [alone] = results(["x"], [[never]])
    assert (alone["logprob"], alone["probability"]) == (-9999, 1)


EMPTY = "continuations must be a list of texts, none of them empty"
CONTEXT = "the input length exceeds the context length"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, EMPTY),
        ({"continuations": ["a", ""]}, EMPTY),
        ({"continuations": ["a"] * 257}, "continuations must be 256 at most"),
        ({"continuations": ["a"], "model": "all-minilm"}, '"all-minilm" does not support score'),
        ({"continuations": [" a" * 100], "options": {"num_ctx": 64}}, CONTEXT),
        ({"continuations": ["a"], "messages": TURNS}, "messages exclude prompt and raw"),
        (
            {"continuations": ["a"], "prompt": "", "messages": [TURNS[1] | {"images": ["aGk="]}]},
            "score takes no images",
        ),
        (
            {
                "continuations": ["a"],
                "prompt": "",
                "messages": [TURNS[1] | {"content": "a " * 99_999}],
                "options": {"num_ctx": 64},
            },
            CONTEXT,
        ),
        (  # many messages are rendered in a process
            {
                "continuations": ["a"],
                "prompt": "",
                "messages": TURNS * 600,
                "options": {"num_ctx": 64},
            },
            CONTEXT,
        ),
    ],
)
async def test_inputs_that_cannot_be_scored(
    standalone: Fetch, fields: dict[str, Any], message: str
) -> None:
    response = await standalone("POST", "/api/score", QUESTION | fields)
    assert (response.code, error(response)) == (400, message)
