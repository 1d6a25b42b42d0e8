"""The generated tokens are those of llama.cpp alone: checked by teacher forcing.

Our tokens are fed to a plain loop, which says by how much each one missed its own best logit.
llama.cpp's kernels give slightly different logits for batches of different shapes, on quantized
weights by up to 1, so exact equality of texts cannot be expected; a wrong position, mask or
sequence shows as misses of several logits.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from plain_loop import PlainLoop
from runners import running

from jupyter_ollama.engine.events import Done
from jupyter_ollama.engine.protocol import ChatPrompt, RawPrompt
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.options import Options
from jupyter_ollama.prompt.messages import Message

QUESTIONS = [
    "What is the capital of France?",
    "Tell a story about a fox and a crow.",
    "Explain how rain forms. " * 10,
    "List five fruits.",
    "Write a poem about the sea.",
    "Why is the sky blue? " * 20,
    "Name a prime number.",
    "Translate 'good morning' into German.",
    "What does a compiler do?",
]


async def greedy(
    runner: RunnerClient, prompt: ChatPrompt | RawPrompt, count: int
) -> tuple[int, list[int]]:
    """Return the number of prompt tokens and the tokens of prompt and answer."""
    options = Options(temperature=0, num_predict=count)
    async for event in runner.generate(prompt, options, return_context=True):
        if isinstance(event, Done):
            return event.prompt_eval_count, event.context
    raise AssertionError("no Done")


def assert_agrees(
    path: Path, answers: list[tuple[int, list[int]]], *, best: float, largest_miss: float
) -> None:
    """Compare: at least the part ``best`` of our tokens has the largest logit in the plain loop."""
    loop = PlainLoop(path)
    misses: list[float] = []
    for prompt, tokens in answers:
        misses += loop.misses(tokens[:prompt], tokens[prompt:])
    loop.close()
    assert len(misses) > 100
    assert max(misses) <= largest_miss
    assert sum(miss == 0 for miss in misses) / len(misses) >= best


async def alone_and_beside_others(
    runner: RunnerClient, prompts: list[ChatPrompt | RawPrompt]
) -> list[tuple[int, list[int]]]:
    alone = await greedy(runner, prompts[0], 48)
    together = await asyncio.gather(*(greedy(runner, prompt, 32) for prompt in prompts))
    return [alone, *together]


@pytest.mark.parametrize(
    ("weights", "best", "largest_miss"),
    [
        ("f16", 0.97, 0.1),
        ("q4_1", 0.94, 0.5),
        # llama.cpp multiplies repacked Q4_0 by other kernels for one row than for many. Alone every
        # token agrees; beside others 0.95 to 0.97 were measured, also against the plain loop run
        # beside copies of itself.
        ("q4_0", 0.92, 1.0),
    ],
)
async def test_smollm2_agrees_with_the_plain_loop(
    request: pytest.FixtureRequest, weights: str, best: float, largest_miss: float
) -> None:
    path: Path = request.getfixturevalue(f"smollm2_{weights}")
    prompts: list[ChatPrompt | RawPrompt] = [
        ChatPrompt([Message("user", question)]) for question in QUESTIONS
    ]
    async with running(path) as runner:
        answers = await alone_and_beside_others(runner, prompts)
    assert_agrees(path, answers, best=best, largest_miss=largest_miss)


async def test_gemma3_agrees_with_the_plain_loop(gemma3_f16: Path) -> None:
    prompts: list[ChatPrompt | RawPrompt] = [RawPrompt(question) for question in QUESTIONS]
    async with running(gemma3_f16) as runner:
        answers = await alone_and_beside_others(runner, prompts)
    assert_agrees(gemma3_f16, answers, best=0.97, largest_miss=0.1)


async def test_a_full_kv_cache_puts_sequences_back_without_harm(smollm2_f16: Path) -> None:
    """Sixteen sequences of 60 to 110 tokens over 512 cells: some are preempted and read again."""
    prompts = [RawPrompt(f"Count from {n}: " + "one two three " * 20) for n in range(16)]
    async with running(smollm2_f16, num_ctx=128) as runner:
        answers = await asyncio.gather(*(greedy(runner, prompt, 40) for prompt in prompts))
    assert all(len(tokens) - prompt == 40 for prompt, tokens in answers)
    assert_agrees(smollm2_f16, list(answers), best=0.97, largest_miss=0.1)
