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
    Options(seed=7, dry_multiplier=2.0, dry_allowed_length=1),
    Options(seed=7, dry_multiplier=4.0, dry_penalty_last_n=30, repeat_penalty=1.2, top_k=3),
    Options(temperature=0, dry_multiplier=40.0),
    Options(seed=7, top_n_sigma=1.5),
    Options(seed=7, top_n_sigma=0.5, top_k=0, repeat_penalty=1.3),
    Options(seed=7, xtc_probability=0.5, xtc_threshold=0.05),
    Options(temperature=0, xtc_probability=1.0, xtc_threshold=0.01),
    Options(seed=7, dry_multiplier=2.0, top_n_sigma=2.0, xtc_probability=0.5, min_p=0.02),
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: repr(options)[8:60])
def test_same_tokens_as_over_the_whole_vocabulary(model: LlamaModel, options: Options) -> None:
    options.num_ctx = 128
    prompt = list(range(100, 160))
    ours, theirs = (Sampler(model, options, prompt) for _ in range(2))
    random = np.random.default_rng(3)
    for _ in range(40):
        logits = random.standard_normal(model.n_vocab).astype(np.float32) * 4
        logits[prompt[-8:]] += 12  # the case that a penalty is for
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


def distinct(
    options: Options, model: LlamaModel, logits: np.ndarray, prompt: list[int]
) -> set[int]:
    """Return the token chosen for the same logits each time, unless it is accepted."""
    options.num_ctx = 128
    sampler = Sampler(model, options, prompt)
    return {sampler.choose(logits) for _ in range(60)}


def test_dry_avoids_what_would_repeat(model: LlamaModel) -> None:
    logits = np.zeros(model.n_vocab, np.float32)
    logits[[103, 200]] = 20, 10
    prompt = [101, 102, 103, 104, 101, 102]
    dry = {"temperature": 0, "dry_multiplier": 30.0, "dry_allowed_length": 2}
    assert distinct(Options(temperature=0), model, logits, prompt) == {103}
    assert distinct(Options(**dry), model, logits, prompt) == {200}
    assert distinct(Options(**dry | {"dry_allowed_length": 3}), model, logits, prompt) == {103}
    assert distinct(Options(**dry | {"dry_penalty_last_n": 4}), model, logits, prompt) == {103}
    assert distinct(Options(**dry), model, logits, prompt[:4]) == {103}
    breaker = model.piece(102, special=False).decode()
    broken = Options(**dry, dry_sequence_breakers=[breaker])
    assert distinct(broken, model, logits, prompt) == {103}


def test_xtc_takes_all_likely_ones_but_the_last(model: LlamaModel) -> None:
    logits = np.full(model.n_vocab, -20, np.float32)
    logits[[5, 6, 7]] = 3, 2, 1

    def choices(probability: float, threshold: float = 0.1) -> set[int]:
        options = Options(seed=1, top_p=1, xtc_probability=probability, xtc_threshold=threshold)
        return distinct(options, model, logits, [])

    assert choices(0) == choices(-1) == choices(1, 0.3) == {5, 6, 7}
    assert choices(1) == {6, 7}
    assert choices(1, 0.05) == {7}


def test_top_n_sigma_looks_at_the_whole_distribution(model: LlamaModel) -> None:
    logits = np.zeros(model.n_vocab, np.float32)
    logits[1::2] = -10  # the deviation is 5; it would be 0 among the largest few
    logits[[5, 7]] = 9, 5.5
    near = distinct(Options(seed=1, top_p=1, temperature=9, top_n_sigma=1), model, logits, [])
    assert near == {5, 7}
    wide = distinct(Options(seed=1, top_p=1, temperature=9, top_n_sigma=2), model, logits, [])
    assert wide > {5, 7}
