"""Few candidates or the whole vocabulary: the same tokens."""

from __future__ import annotations

import ctypes
from pathlib import Path

import llama_cpp.llama_cpp as llama
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from plain_loop import quiet

from jupyter_ollama.engine.llama_model import LlamaModel
from jupyter_ollama.engine.sampling import CANDIDATE, Sampler, largest
from jupyter_ollama.options import Options

values = st.floats(-50, 50, width=32) | st.just(float("-inf"))


@given(arrays(np.float32, st.integers(65, 700), elements=values), st.integers(1, 20))
def test_largest_has_all_that_can_be_chosen(logits: np.ndarray, count: int) -> None:
    ids = largest(logits, count)
    assert list(ids) == sorted(set(ids.tolist()))
    best = np.sort(logits[np.isfinite(logits)])[::-1][:count]
    np.testing.assert_array_equal(np.sort(logits[ids])[::-1][: best.size], best)


def test_largest_is_few_of_a_large_vocabulary() -> None:
    logits = np.random.default_rng(1).standard_normal(262_144).astype(np.float32)
    assert 40 <= largest(logits, 40).size < 80


@pytest.fixture(scope="module")
def model(smollm2_f16: Path) -> LlamaModel:
    callback = quiet()
    model = LlamaModel(str(smollm2_f16), gpu_layers=0)
    model.log_callback = callback
    return model


def sample_all(sampler: Sampler, logits: np.ndarray) -> int:
    """Let the sampler's own chain choose among the whole vocabulary."""
    candidates = np.zeros(logits.size, CANDIDATE)
    candidates["id"] = np.arange(logits.size)
    candidates["logit"] = logits
    array = llama.llama_token_data_array(
        data=ctypes.cast(candidates.ctypes.data, llama.llama_token_data_p),
        size=logits.size,
        selected=-1,
        sorted=False,
    )
    llama.llama_sampler_apply(sampler._chain, ctypes.byref(array))
    return int(array.data[array.selected].id)


OPTIONS = [
    Options(seed=7),
    Options(seed=7, top_k=5, min_p=0.05),
    Options(seed=7, top_k=0, top_p=0.5),
    Options(seed=7, typical_p=0.7),
    Options(seed=7, repeat_penalty=1.3, presence_penalty=0.5, frequency_penalty=0.2),
    Options(seed=7, repeat_penalty=0.8, repeat_last_n=-1),
    Options(temperature=0, repeat_penalty=1.5),
    Options(seed=7, mirostat=2),
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: repr(options)[8:60])
def test_same_tokens_as_over_the_whole_vocabulary(model: LlamaModel, options: Options) -> None:
    options.num_ctx = 128
    prompt = list(range(100, 160))
    ours, theirs = (Sampler(model, options, prompt) for _ in range(2))
    random = np.random.default_rng(3)
    for _ in range(40):
        logits = random.standard_normal(model.n_vocab).astype(np.float32) * 4
        logits[prompt[-8:]] += 12  # what a penalty is for
        token = ours.choose(logits)
        assert token == sample_all(theirs, logits)
        ours.accept(token)
        theirs.accept(token)


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_a_bias_moves_the_choice(model: LlamaModel, temperature: float) -> None:
    logits = np.random.default_rng(4).standard_normal(model.n_vocab).astype(np.float32)
    logits[5] = 20
    before = logits.copy()
    bias = {5: -100.0, 9: 60.0, model.n_vocab + 3: 100.0}
    plain = Sampler(model, Options(temperature=temperature, seed=1), [])
    biased = Sampler(model, Options(temperature=temperature, seed=1, logit_bias=bias), [])
    assert (plain.choose(logits), biased.choose(logits)) == (5, 9)
    assert not biased.is_greedy
    np.testing.assert_array_equal(logits, before)
