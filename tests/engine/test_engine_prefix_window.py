"""Prefixes of models with sliding windows: cells that llama.cpp has reused are read again."""

from __future__ import annotations

import random
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest
from ollama_layout import unpack
from plain_vision import decode_chunks
from runners import running

from jupyter_ollama.engine.events import Done
from jupyter_ollama.engine.llama_context import LlamaContext
from jupyter_ollama.engine.llama_model import LlamaModel
from jupyter_ollama.engine.protocol import RawPrompt
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.options import Options

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog", "once", "upon", "time"]
WINDOW = 16
"""Positions that the models look back, far fewer than the prompts have."""


class Reference:
    """One sequence alone, its prompt read at once."""

    def __init__(self, path: Path) -> None:
        self._model = LlamaModel(str(path))
        self._context = LlamaContext(
            self._model, cells=1024, sequences=1, batch=512, ubatch=512, threads=2
        )
        assert self._context.window == WINDOW

    def misses(self, prompt: list[int], answer: list[int]) -> list[float]:
        """Return by how much each token of an answer missed the best logit."""
        self._context.forget(-1)
        logits = decode_chunks(self._context, [prompt], batch=512)
        found = []
        for number, token in enumerate(answer):
            found.append(float(logits.max() - logits[token]))
            position = len(prompt) + number
            logits = decode_chunks(self._context, [[token]], batch=512, position=position)
        return found


async def ask(runner: RunnerClient, text: str) -> Done:
    options = Options(temperature=0, num_predict=6)
    async with aclosing(runner.generate(RawPrompt(text), options, return_context=True)) as events:
        async for event in events:
            if isinstance(event, Done):
                return event
    raise AssertionError("no Done")


@pytest.mark.parametrize("name", ["gemma3-text", "gemma4", "olmo3"])
async def test_answers_do_not_depend_on_earlier_requests(tmp_path: Path, name: str) -> None:
    """Prompts that share beginnings longer than the window, again and again in any order."""
    rng = random.Random(name)
    path = unpack(name, tmp_path)
    beginnings = [" ".join(rng.choices(WORDS, k=24)) for _ in range(2)]
    prompts = [f"{rng.choice(beginnings)} {' '.join(rng.choices(WORDS, k=8))}" for _ in range(5)]
    prompts += [prompt + " and so on" for prompt in prompts[:2]]
    answers = []
    async with running(path, num_ctx=512) as runner:
        for _ in range(30):
            answers.append(await ask(runner, rng.choice(prompts)))
    assert any(done.cached for done in answers)
    reference = Reference(path)
    misses = []
    for done in answers:
        tokens = done.context
        prompt = tokens[: done.prompt_eval_count]
        misses += reference.misses(prompt, tokens[done.prompt_eval_count :])
    # Near ties may go either way; a window with holes misses by far more, and all the time.
    assert np.median(misses) == 0
    assert max(misses) < 1.0
