"""Scores equal the results of a plain loop, token by token, whatever else runs."""

from __future__ import annotations

import asyncio
import ctypes
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import llama_cpp.llama_cpp as llama
import numpy as np
import pytest
from plain_loop import PlainLoop, quiet
from runners import running
from scripted_model import write_scripts
from tiny_recurrent import write_recurrent

from jupyter_ollama.engine.events import Done, Scored
from jupyter_ollama.engine.llama_model import LlamaModel
from jupyter_ollama.engine.protocol import RawPrompt
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.engine.score import split
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.options import Options

FACTS = "The capital of France is Paris. The capital of Italy is Rome. " * 4
PROMPT = FACTS + "The capital of Spain is"
CONTINUATIONS = [
    " Madrid",
    " Madrid, a large city in the middle of the country.",
    " Berlin",
    " the ship " * 20,
    "!",
]


EXACT = {"kv_cache_type": "f32", "flash_attention": False}
"""Rounded keys and values make a plain loop differ from itself by 0.02 if it reads in parts."""


QUIET = quiet()
"""A log callback for llama.cpp that outlives the loop and its own callback."""


class ExactLoop(PlainLoop):
    """A plain loop with a float32 KV cache."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        llama.llama_free(self.context)
        params = llama.llama_context_default_params()
        params.n_ctx = 2048
        params.n_threads = params.n_threads_batch = 2
        params.type_k = params.type_v = llama.GGML_TYPE_F32
        params.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.context = llama.llama_init_from_model(self.model, params)


class Oracle:
    """Computes the log-probability of each token of a text by a plain loop."""

    def __init__(self, path: Path) -> None:
        self._loop = ExactLoop(path)
        self._model = LlamaModel(str(path))

    def __call__(self, prompt: str, continuations: list[str]) -> list[list[float]]:
        before, rests = split(self._model, prompt, continuations)
        return [self.logprobs(before, rest) for rest in rests]

    def logprobs(self, before: list[int], rest: list[int]) -> list[float]:
        loop = self._loop
        llama.llama_memory_clear(llama.llama_get_memory(loop.context), True)
        found = []
        feed = before
        for token in rest:
            tokens = (llama.llama_token * len(feed))(*feed)
            batch = llama.llama_batch_get_one(tokens, len(feed))
            assert llama.llama_decode(loop.context, batch) == 0
            row = llama.llama_get_logits_ith(loop.context, -1)
            logits = np.ctypeslib.as_array(row, (loop.n_vocab,)).astype(np.float64)
            found.append(float(logits[token] - np.logaddexp.reduce(logits)))
            feed = [token]
        return found

    def close(self) -> None:
        self._loop.close()
        llama.llama_log_set(QUIET, ctypes.c_void_p(0))


@pytest.fixture(scope="session")
def smollm2_f32(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2 in F32."""
    path = tmp_path_factory.mktemp("f32") / "smollm2-f32.gguf"
    command = [sys.executable, "-m", "jupyter_ollama.engine.quantize", smollm2, path, "F32"]
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.fixture
def oracle(smollm2_f32: Path) -> Iterator[Oracle]:
    oracle = Oracle(smollm2_f32)
    yield oracle
    oracle.close()


def logprobs(scored: Scored) -> list[list[float]]:
    return [[token.logprob for token in tokens] for tokens in scored.continuations]


def assert_agree(found: Scored, expected: list[list[float]], tolerance: float) -> None:
    mine = logprobs(found)
    assert [len(tokens) for tokens in mine] == [len(tokens) for tokens in expected]
    for tokens, others in zip(mine, expected, strict=True):
        assert np.allclose(tokens, others, atol=tolerance), np.abs(
            np.subtract(tokens, others)
        ).max()


async def stream(runner: RunnerClient, prompt: str, count: int = 16) -> Done:
    options = Options(temperature=0, num_predict=count)
    async for event in runner.generate(RawPrompt(prompt), options):
        if isinstance(event, Done):
            return event
    raise AssertionError("no Done")


async def test_scores_are_those_of_a_plain_loop(smollm2_f32: Path, oracle: Oracle) -> None:
    expected = oracle(PROMPT, CONTINUATIONS)
    async with running(smollm2_f32, **EXACT) as runner:
        one = await runner.score(PROMPT, CONTINUATIONS[:1], 2048)
        assert_agree(one, expected[:1], 1e-3)
        many = await runner.score(PROMPT, CONTINUATIONS, 2048)
        assert_agree(many, expected, 1e-3)
        others = [stream(runner, f"Tell of the {n} seas. {FACTS[:100]}") for n in range(3)]
        texts = ["A list:", PROMPT]
        *done, first, second = await asyncio.gather(
            *others, *(runner.score(text, CONTINUATIONS, 2048) for text in texts)
        )
    assert all(isinstance(one, Done) for one in done)
    assert_agree(first, oracle(texts[0], CONTINUATIONS), 1e-3)
    assert_agree(second, expected, 1e-3)
    assert b"".join(token.piece for token in many.continuations[1]) == CONTINUATIONS[1].encode()
    assert many.continuations[0][0].logprob > many.continuations[2][0].logprob + 2


async def test_the_prompt_is_read_once(smollm2_f16: Path) -> None:
    async with running(smollm2_f16, num_ctx=1024, num_parallel=3) as runner:
        first = await runner.score(PROMPT, [f" {word} z" for word in "abcdefghijkl"], 1024)
        again = await runner.score(PROMPT, [" m"], 1024)
    # All tokens except the last one, whose logits are needed.
    assert first.cached == 11 * (first.prompt_eval_count - 1)
    assert again.cached == again.prompt_eval_count - 1


async def test_words_of_one_token_are_read_off_one_position(
    smollm2_f32: Path, oracle: Oracle
) -> None:
    words = [" Paris", " London", " a city", " a town", " Paris"]
    async with running(smollm2_f32, **EXACT) as runner:
        scored = await runner.score(PROMPT, words, 2048)
    assert_agree(scored, oracle(PROMPT, words), 1e-3)
    # Two sequences: of the single words, and of those after " a"; one reads the other's prompt.
    assert scored.cached == scored.prompt_eval_count - 1
    pieces = [b"".join(token.piece for token in tokens) for tokens in scored.continuations]
    assert pieces == [word.encode() for word in words]


async def test_a_token_over_the_seam_is_scored_in_all(smollm2_f16: Path) -> None:
    model = LlamaModel(str(smollm2_f16))
    prompt, rests = split(model, "The answer: ", ["yes", "7", "no"])
    assert model.detokenize(prompt, special=True) == "The answer:"
    texts = [model.detokenize(rest, special=True) for rest in rests]
    assert texts == [" yes", " 7", " no"]


async def test_nothing_before_the_first_token(smollm2_f32: Path, oracle: Oracle) -> None:
    async with running(smollm2_f32, **EXACT) as runner:
        scored = await runner.score("", ["Once upon a time"], 512)
    assert scored.prompt_eval_count == 1
    assert_agree(scored, oracle("", ["Once upon a time"]), 1e-3)


async def test_tokens_that_end_answers_are_tokens_like_others(tmp_path: Path) -> None:
    path = write_scripts(tmp_path / "model.gguf", {"plain": "Hello, world."})
    async with running(path) as runner:
        scored = await runner.score(
            "<|plain|>", ["Hello, world.<|end|>", "<|end|>Hello, world."], 512
        )
    right, wrong = logprobs(scored)
    assert len(wrong) == len(right)
    assert sum(wrong) < -50


async def test_texts_that_do_not_fit_are_refused(smollm2_f16: Path) -> None:
    async with running(smollm2_f16, num_ctx=128) as runner:
        with pytest.raises(OllamaError, match="context length") as refused:
            await runner.score("one two", ["three", " three" * 200], 128)
        assert refused.value.status == 400
        full = await runner.score("one two", [" three" * 120], 128)
        assert len(full.continuations[0]) == 120


async def test_a_cancelled_request_frees_its_cells(smollm2_f16: Path) -> None:
    async with running(smollm2_f16, num_parallel=2) as runner:
        task = asyncio.create_task(runner.score(PROMPT, CONTINUATIONS * 8, 2048))
        async with aclosing(runner.generate(RawPrompt("Hi"), Options(num_predict=2))) as events:
            await anext(events)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (await stream(runner, "Count: one, two,")).eval_count == 16


async def test_recurrent_models_score_too(tmp_path: Path) -> None:
    path = write_recurrent(tmp_path / "recurrent.gguf")
    oracle = Oracle(path)
    texts = ["abc", "abcdefgh" * 6, "zz"]
    expected = oracle("the " * 40, texts)
    oracle.close()
    async with running(path, num_ctx=512, **EXACT) as runner:
        assert_agree(await runner.score("the " * 40, texts, 512), expected, 1e-3)
