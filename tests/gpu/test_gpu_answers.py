"""Models compute the same on a device as on the processor, with everything that the engine does.

Log-probabilities of given tokens are compared, since near ties may end a comparison of texts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lora_files import write_lora
from ollama_layout import DATA, PROJECTORS, truth, unpack
from runners import running_on_gpu as running

from jupyter_ollama.engine.adapted_runner import AdaptedRunner
from jupyter_ollama.engine.events import Done, Text
from jupyter_ollama.engine.model_runner import ModelRunner
from jupyter_ollama.engine.protocol import ChatPrompt, RawPrompt
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.options import Options

PROMPT = "The quick brown fox jumps over the lazy dog. " * 8
CONTINUATIONS = [" It barks.", " The cat sleeps, and the dog runs after it.", "?"]
"""Random weights give each token a probability near the mean, so any error shows."""

NEAR = 0.03
"""Largest mean difference, as a part of the mean log-probability: the device computes in half
precision, which may choose another expert for a token, and random weights give -60 and less."""


async def scores(runner: ModelRunner, prompt: str = PROMPT) -> np.ndarray[Any, Any]:
    """Return the log-probabilities of the tokens of all continuations."""
    scored = await runner.score(prompt, CONTINUATIONS, 512)
    return np.array([one.logprob for tokens in scored.continuations for one in tokens])


def assert_near(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> None:
    """Compare log-probabilities by their root mean squares."""
    assert np.linalg.norm(found - expected) < NEAR * np.linalg.norm(expected)


@asynccontextmanager
async def on_device(model: Path, backend: str, **spec: Any) -> AsyncIterator[RunnerClient]:
    """Run a model with all layers on the device."""
    async with running(model, **{"num_ctx": 512, **spec}, backends=(backend,)) as runner:
        assert runner.ready.size_vram
        yield runner


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("llama3", {}),
        ("llama3", {"flash_attention": False, "kv_cache_type": "f32"}),
        ("llama3", {"num_gpu": 2}),
        # Mesa 22.3's driver crashes when it compiles flash attention with sinks.
        ("gptoss", {"flash_attention": False}),
        ("gptoss", {"flash_attention": False, "num_cpu_moe": 1}),
        ("gptoss", {"flash_attention": False, "num_cpu_moe": 99}),
    ],
)
async def test_scores_are_those_of_the_processor(
    name: str, spec: dict[str, Any], one_gpu: str, model_folder: Path
) -> None:
    model = unpack(name, model_folder)
    async with running(model, num_ctx=512, **spec | {"num_gpu": 0}) as runner:
        expected = await scores(runner)
        with pytest.raises(AssertionError):  # other words in the prompt are more than near
            assert_near(await scores(runner, "An old cat sleeps. " * 8), expected)
    async with on_device(model, one_gpu, **spec) as runner:
        assert_near(await scores(runner), expected)


async def test_keys_and_values_are_quantized_on_the_device(
    one_gpu: str, model_folder: Path
) -> None:
    model, spec = unpack("gemma3n", model_folder), {"kv_cache_type": "q8_0"}
    async with running(model, num_ctx=512, **spec) as runner:
        expected = await scores(runner)
    async with on_device(model, one_gpu, **spec) as runner:
        assert_near(await scores(runner), expected)


async def test_a_draft_model_runs_on_the_device(one_gpu: str, llama3: Path) -> None:
    # Mesa 22.3's driver crashes when it compiles flash attention for a draft model's context.
    spec = {"flash_attention": False}
    async with on_device(llama3, one_gpu, **spec) as runner:
        expected = await answer(runner, RawPrompt(PROMPT), 12)
        size = runner.ready.size_vram
    async with on_device(llama3, one_gpu, draft=str(llama3), **spec) as runner:
        assert runner.ready.size_vram > size
        assert await answer(runner, RawPrompt(PROMPT), 12) == expected


async def test_an_adapter_changes_the_answer_as_on_the_processor(
    one_gpu: str, llama3: Path, tmp_path: Path
) -> None:
    adapters = (str(write_lora(llama3, tmp_path / "lora.gguf")),)
    async with running(llama3, num_ctx=512, adapters=adapters) as runner:
        plain = await scores(runner)
        await runner.load_adapters(1, adapters)
        expected = await scores(AdaptedRunner(runner, 1))
    with pytest.raises(AssertionError):
        assert_near(plain, expected)
    async with on_device(llama3, one_gpu, adapters=adapters) as runner:
        size, size_vram = await runner.load_adapters(1, adapters)
        assert size == size_vram  # llama.cpp rounds these few bytes down to 0
        assert_near(await scores(AdaptedRunner(runner, 1)), expected)


async def test_two_devices_say_what_one_says(two_gpus: str, llama3: Path) -> None:
    async with running(llama3, num_ctx=512) as runner:
        expected = await scores(runner)
    async with on_device(llama3, two_gpus, tensor_split=(1.0, 1.0)) as runner:
        assert_near(await scores(runner), expected)


async def answer(runner: RunnerClient, prompt: RawPrompt | ChatPrompt, count: int) -> list[int]:
    """Return the tokens of a greedy answer."""
    options = Options(temperature=0, num_predict=count, repetition_stop=False)
    async for event in runner.generate(prompt, options, return_context=True, stream=False):
        if isinstance(event, Done):
            return event.context[event.prompt_eval_count :]
    raise AssertionError("no Done")


async def say(runner: RunnerClient, prompt: RawPrompt) -> str:
    """Return the beginning of a greedy answer."""
    answer = runner.generate(prompt, Options(temperature=0, num_predict=3), stream=False)
    return "".join([event.text async for event in answer if isinstance(event, Text)])


async def test_a_common_prefix_is_forked_on_the_device(one_gpu: str, llama3: Path) -> None:
    async with on_device(llama3, one_gpu, num_parallel=4) as runner:
        ends = ("one", "two", "three", "four")
        alone = [await answer(runner, RawPrompt(PROMPT + end), 8) for end in ends]
        together = await asyncio.gather(
            *(answer(runner, RawPrompt(PROMPT + end), 8) for end in ends)
        )
        assert together == alone
        repeated = await runner.score(PROMPT, CONTINUATIONS, 512)
        assert repeated.cached > 0


async def test_a_full_context_is_shifted_on_the_device(one_gpu: str, llama3: Path) -> None:
    async with on_device(llama3, one_gpu, num_ctx=64) as runner:
        found = await answer(runner, RawPrompt("A b c"), 150)
        assert len(found) > 64
        # The cache is intact after a shift: the same request gets the same answer.
        assert await answer(runner, RawPrompt("A b c"), 150) == found


async def test_a_cancelled_answer_leaves_the_device_usable(one_gpu: str, llama3: Path) -> None:
    async with on_device(llama3, one_gpu) as runner:
        before = await scores(runner)
        answers = runner.generate(RawPrompt(PROMPT), Options(num_predict=400))
        async for event in answers:
            if isinstance(event, Text):
                break
        await answers.aclose()
        assert_near(await scores(runner), before)


@pytest.mark.parametrize("name", ["bert"])
async def test_vectors_are_those_of_the_processor(
    name: str, one_gpu: str, model_folder: Path
) -> None:
    model = unpack(name, model_folder)
    texts = ["one", "two and three", PROMPT]

    async def vectors(runner: RunnerClient) -> np.ndarray[Any, Any]:
        found = await runner.embed(texts, 512)
        return np.frombuffer(found.rows, np.float32).reshape(found.count, found.size)

    async with running(model, num_ctx=512) as runner:
        expected = await vectors(runner)
    async with on_device(model, one_gpu) as runner:
        found = await vectors(runner)
    assert (found * expected).sum(axis=1).min() > 0.999


@pytest.mark.parametrize("name", ["gemma3-vision"])
async def test_pictures_are_seen_as_by_the_processor(
    name: str, one_gpu: str, model_folder: Path
) -> None:
    model = unpack(PROJECTORS.get(name, name), model_folder)
    projectors = (str(unpack(name, model_folder)),) if name in PROJECTORS else ()
    file, expected = next(iter(truth(name)["pictures"].items()))
    text = expected["prompt"].replace("<__media__>", "[img-0]")
    prompt = RawPrompt(text, images=[(DATA / file).read_bytes()])
    async with running(model, projectors=projectors, num_ctx=2048) as runner:
        seen = await say(runner, prompt)
        assert seen != await say(runner, RawPrompt(text.replace("[img-0]", "")))
    async with on_device(model, one_gpu, projectors=projectors, num_ctx=2048) as runner:
        assert await say(runner, prompt) == seen
