"""A recurrent model: its states are forked whole or not at all, and its answers stay right."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from plain_loop import PlainLoop
from runners import running
from tiny_recurrent import write_recurrent

from jupyter_ollama.engine.events import Done
from jupyter_ollama.engine.protocol import RawPrompt
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.options import Options

RULES = "Be kind, be brief, be clear, and never forget the sea. " * 20


@pytest.fixture(scope="module")
def mamba(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recurrent(tmp_path_factory.mktemp("mamba") / "mamba.gguf")


async def ask(runner: RunnerClient, text: str, count: int = 16) -> Done:
    options = Options(temperature=0, num_predict=count)
    async for event in runner.generate(RawPrompt(text), options, return_context=True):
        if isinstance(event, Done):
            return event
    raise AssertionError("no Done")


def assert_good(path: Path, answers: list[Done]) -> None:
    """A byte is a token here, and near ties are frequent among random weights."""
    loop = PlainLoop(path)
    for done in answers:
        split = done.prompt_eval_count
        assert max(loop.misses(done.context[:split], done.context[split:])) < 1e-2
    loop.close()


async def test_simultaneous_requests_fork_where_their_prompts_differ(mamba: Path) -> None:
    async with running(mamba, num_ctx=2048) as runner:
        asked = (ask(runner, RULES + end) for end in ("What is rain?", "Who?", "What is wind?"))
        answers = await asyncio.gather(*asked)
    first, *others = answers
    assert first.cached == 0
    assert all(done.cached > 1000 for done in others)
    assert_good(mamba, list(answers))


async def test_a_state_is_used_whole_or_not_at_all(mamba: Path) -> None:
    async with running(mamba, num_ctx=2048) as runner:
        first = await ask(runner, RULES)
        text = bytes(token - 3 for token in first.context[first.prompt_eval_count :] if token > 2)
        same = await ask(runner, RULES)
        other = await ask(runner, RULES + "x")
    assert text
    # The kept state covers prompt and answer; there is none for a part of them.
    assert same.cached == 0
    assert_good(mamba, [first, same, other])
