"""Everything at once: forks, cancels, evictions, constraints and speculation change no answer.

Random mixes of requests run over a KV cache that is too small for them. Every answer is then fed to
a plain loop, one sequence alone, which says by how much each token missed the best one.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from plain_loop import PlainLoop
from runners import running

from jupyter_ollama.engine.constraint import ConstraintCompiler
from jupyter_ollama.engine.events import Done
from jupyter_ollama.engine.llama_model import LlamaModel
from jupyter_ollama.engine.protocol import Constraint, RawPrompt
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.library.library import Library
from jupyter_ollama.options import Options

LABEL = Constraint(
    "schema",
    json.dumps(
        {
            "type": "object",
            "properties": {
                "label": {"enum": ["positive", "negative", "neutral"]},
                "words": {"type": "array", "items": {"type": "string", "maxLength": 12}},
            },
            "required": ["label", "words"],
        }
    ),
)

BEGINNINGS = [
    "You are a patient teacher. Answer in short and simple sentences, with an example. " * 3,
    "You are a patient teacher. Answer in short and simple sentences. " * 5 + "Be kind. ",
    "one two three four five six seven eight nine ten. " * 6,
    "",
]
ENDINGS = ["What is rain?", "Name a colour.", "one two three four", "Count to ten.", "Why? " * 12]


@dataclass(frozen=True)
class Request:
    """One request of a mix; ``follow_up`` continues after the answer as a conversation does."""

    beginning: str
    ending: str
    count: int
    after: float
    cancel: bool
    constrained: bool
    follow_up: bool
    stream: bool


requests = st.builds(
    Request,
    st.sampled_from(BEGINNINGS),
    st.sampled_from(ENDINGS),
    st.integers(1, 24),
    st.sampled_from([0.0, 0.0, 0.05, 0.3]),
    st.sampled_from([False, False, False, True]),
    st.sampled_from([False, False, True]),
    st.booleans(),
    st.booleans(),
)

Answer = tuple[int, list[int], Constraint | None]


async def ask(runner: RunnerClient, prompt: str, request: Request) -> tuple[str, Answer] | None:
    """Return the text, and the tokens for the plain loop to check; None if it was cancelled."""
    constraint = LABEL if request.constrained else None
    options = Options(temperature=0, num_predict=request.count)
    events = runner.generate(
        RawPrompt(prompt),
        options,
        return_context=True,
        constraint=constraint,
        stream=request.stream,
    )
    text = ""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Done):
                return text, (event.prompt_eval_count, event.context, constraint)
            text += event.text
            if request.cancel:
                return None
    return None


async def run(runner: RunnerClient, request: Request) -> list[Answer]:
    await asyncio.sleep(request.after)
    prompt = request.beginning + request.ending
    first = await ask(runner, prompt, request)
    if first is None:
        return []
    text, answer = first
    if not request.follow_up:
        return [answer]
    second = await ask(runner, f"{prompt}{text} Go on.", request)
    return [answer, second[1]] if second else [answer]


async def run_all(path: Path, mixes: list[list[Request]]) -> list[Answer]:
    answers: list[Answer] = []
    async with running(path, num_ctx=256, num_parallel=3) as runner:
        for mix in mixes:
            for part in await asyncio.gather(*(run(runner, request) for request in mix)):
                answers += part
    return answers


def check(path: Path, answers: list[Answer], *, best: float, largest_miss: float) -> None:
    loop = PlainLoop(path)
    compiler = ConstraintCompiler(LlamaModel(str(path), gpu_layers=0))
    misses: list[float] = []
    for prompt, tokens, constraint in answers:
        rule = compiler.compile(constraint) if constraint else None
        misses += loop.misses(tokens[:prompt], tokens[prompt:], rule)
    loop.close()
    if misses:
        assert max(misses) <= largest_miss
        # One near tie in a short mix does not indicate an error.
        assert sum(miss > 0 for miss in misses) <= max(2, (1 - best) * len(misses))


examples = partial(
    settings,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@examples(max_examples=4)
@given(st.lists(st.lists(requests, min_size=4, max_size=8), min_size=2, max_size=3))
def test_smollm2(smollm2_f16: Path, mixes: list[list[Request]]) -> None:
    answers = asyncio.run(run_all(smollm2_f16, mixes))
    check(smollm2_f16, answers, best=0.97, largest_miss=0.1)


@pytest.fixture(scope="module")
def gemma3(gemma3_library: Library) -> Path:
    return gemma3_library.find("gemma3").model_path


@examples(max_examples=1)
@given(st.lists(st.lists(requests, min_size=6, max_size=8), min_size=2, max_size=2))
def test_gemma3_with_its_sliding_window(gemma3: Path, mixes: list[list[Request]]) -> None:
    answers = asyncio.run(run_all(gemma3, mixes))
    check(gemma3, answers, best=0.97, largest_miss=0.5)
