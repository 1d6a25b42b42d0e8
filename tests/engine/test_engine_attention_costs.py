"""The costs of attention are measured at the load of a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_ollama.engine import attention_costs
from jupyter_ollama.engine.attention_costs import (
    ROW_COST,
    AttentionCosts,
    filled_from,
    measure_attention,
)
from jupyter_ollama.engine.loading import ModelLoader
from jupyter_ollama.engine.protocol import LoadSpec
from jupyter_ollama.engine.reading_order import NEVER


@pytest.mark.parametrize("kind", ["smollm2", "gemma3_f16"])
def test_a_row_takes_longer_than_its_part_of_a_tile(
    request: pytest.FixtureRequest, kind: str
) -> None:
    path: Path = request.getfixturevalue(kind)
    loaded = ModelLoader(LoadSpec(model=str(path), num_ctx=256))
    costs = measure_attention(loaded.model, 1)
    assert 0 < costs.tile < costs.row < 1e-3
    assert 1 < costs.row_cost < 30
    context = loaded.generation_context()
    assert context.attention
    context.close()


def test_a_context_without_flash_attention_has_no_tiles(smollm2: Path) -> None:
    loaded = ModelLoader(LoadSpec(model=str(smollm2), num_ctx=256, flash_attention=False))
    context = loaded.generation_context()
    assert (context.attention, context.filled_from) == (None, NEVER)
    context.close()


def test_fillers_complete_tiles_where_steps_do_not_divide_a_head(
    smollm2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ModelLoader(LoadSpec(model=str(smollm2), num_ctx=256)).model
    found = []
    for step in (1, 32, 64, 128, 48):
        monkeypatch.setattr(attention_costs, "_step", lambda step=step: step)
        found.append(filled_from(model))
    # Its heads have 64 numbers. Fewer that are computed alone pay later.
    assert found == [NEVER, NEVER, NEVER, 512, 704]


def test_a_build_of_ggml_without_the_functions(
    smollm2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str, *types: object) -> None:
        raise AttributeError(name)

    monkeypatch.setattr(attention_costs, "ggml", missing)
    loaded = ModelLoader(LoadSpec(model=str(smollm2), num_ctx=256))
    costs = measure_attention(loaded.model, 1)
    assert (costs, costs.row_cost) == (AttentionCosts(), ROW_COST)
