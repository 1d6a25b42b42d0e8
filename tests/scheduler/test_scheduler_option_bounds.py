"""All numeric options are kept within their bounds."""

from __future__ import annotations

import ctypes
import math
from pathlib import Path
from typing import Any

import pytest
from scheduling import scheduling

from jupyter_ollama.engine.events import Done
from jupyter_ollama.engine.protocol import RawPrompt
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.model import Model
from jupyter_ollama.option_bounds import FIELD_BOUNDS, check_field
from jupyter_ollama.options import ABOUT, TYPES, Options, merge_options

OPTION_BOUNDS = {name: about.bounds for name, about in ABOUT.items() if about.bounds}
WILD = [0, 1, -1, 2**31, -(2**31) - 1, 2**62, -(2**62), 1e300, -1e300, 3.5e38, 1e-300, 0.5]


def test_the_table_has_every_number() -> None:
    numbers = {name for name, kind in TYPES.items() if kind in ("integer", "float32")}
    assert numbers - OPTION_BOUNDS.keys() == {"seed"}
    default = Options()
    for name, bounds in OPTION_BOUNDS.items():
        value = getattr(default, name)
        if not isinstance(value, dict):
            assert bounds.least <= value <= bounds.most


@pytest.mark.parametrize("name", sorted(OPTION_BOUNDS.keys() - {"logit_bias"}))
def test_values_beyond_the_bounds_are_clamped(name: str) -> None:
    bounds = OPTION_BOUNDS[name]
    for asked in WILD:
        if TYPES[name] == "integer" and abs(asked) >= 2**63:
            with pytest.raises(OllamaError, match="must be of type integer"):
                merge_options({name: asked})
            continue
        taken = getattr(merge_options({name: asked})[0], name)
        assert bounds.least <= taken <= bounds.most
        assert math.isfinite(ctypes.c_float(taken).value)
        whole = int(asked) if TYPES[name] == "integer" else asked
        if bounds.least <= whole <= bounds.most:
            assert taken == whole
    for wrong in (math.nan, "1", True, [], {}):
        with pytest.raises(OllamaError) as caught:
            merge_options({name: wrong})
        assert caught.value.status == 400


def test_biases_have_bounds_and_ids_that_can_be() -> None:
    asked = {"1": -1e300, "2": 1e300, "3": 5, str(2**31): 1}
    assert merge_options({"logit_bias": asked})[0].logit_bias == {1: -1000.0, 2: 1000.0, 3: 5.0}
    hostile: list[Any] = [{"1" * 5000: 1}, {"1": math.nan}, {"-1": 1}, {"1": None}, {"x": 1}]
    hostile.append({str(token): 1 for token in range(2**18 + 1)})
    for biases in hostile:
        with pytest.raises(OllamaError, match="logit_bias"):
            merge_options({"logit_bias": biases})


@pytest.mark.parametrize("name", FIELD_BOUNDS)
def test_fields_beyond_their_bounds_are_refused(name: str) -> None:
    bounds = FIELD_BOUNDS[name]
    check_field(name, bounds.least)
    check_field(name, bounds.most)
    for wrong in (bounds.least - 1, bounds.most + 1, 2**62, math.nan):
        with pytest.raises(OllamaError, match=f"{name} must be between"):
            check_field(name, wrong)


async def test_biases_that_forbid_all_tokens_leave_the_runner_alive(
    ollama_store: Path, smollm2: Model
) -> None:
    async with scheduling(ollama_store) as scheduler:
        asked = {"logit_bias": {str(token): -1e300 for token in range(49152)}, "num_predict": 3}
        for more in ({"temperature": 1.0}, {"temperature": 0.0}, {"mirostat": 2}, {"top_k": 0}):
            options, _ = merge_options(asked | more)
            async with await scheduler.acquire(smollm2, options) as lease:
                events = [e async for e in lease.runner.generate(RawPrompt("Once"), lease.options)]
                assert isinstance(events[-1], Done)


async def test_loads_with_hostile_numbers_run(ollama_store: Path, smollm2: Model) -> None:
    async with scheduling(ollama_store) as scheduler:
        asked = {"num_parallel": 2**62, "num_batch": 2**62, "num_thread": -(2**62), "main_gpu": -9}
        options, _ = merge_options(asked | {"num_gpu": 2**62, "num_ctx": 64})
        options.num_predict = 2
        async with await scheduler.acquire(smollm2, options) as lease:
            events = [e async for e in lease.runner.generate(RawPrompt("Once"), lease.options)]
            assert isinstance(events[-1], Done)
