"""On a CPU, a request that runs alone gets the same numbers after any history, on any model.

Seeds are kept: a failure names the one that it came with.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from drafting import Eager
from histories import History, Loop
from ollama_layout import unpack
from tiny_head import write_qwen35
from tiny_recurrent import write_recurrent
from tiny_wide import write_wide

from jupyter_ollama.engine.drafter import Task

TYPES = ["F16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL", "IQ4_XS"]
TYPES += ["Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K"]


@pytest.mark.parametrize("kind", TYPES)
def test_each_type_of_weights(tmp_path: Path, kind: str) -> None:
    path = write_wide(tmp_path / "model.gguf", kind)
    histories = [History(path, seed) for seed in range(2)]
    assert all(history.run(40) > 2 for history in histories)
    assert sum(history.reused for history in histories) > 200


@pytest.mark.parametrize("kind", ["F16", "Q4_0", "Q4_K_M", "Q6_K", "IQ4_XS"])
def test_experts(tmp_path: Path, kind: str) -> None:
    path = write_wide(tmp_path / "model.gguf", kind, experts=True)
    assert all(History(path, seed).run(40) > 2 for seed in range(3))


@pytest.mark.parametrize("name", ["gemma3-text", "gemma4", "olmo3", "gptoss"])
def test_sliding_windows(tmp_path: Path, name: str) -> None:
    """Windows of 16 positions, far fewer than the prompts have."""
    path = unpack(name, tmp_path)
    histories = [History(path, seed) for seed in range(2)]
    assert all(history.run(40) > 2 for history in histories)
    assert sum(history.reused for history in histories) > 200


@pytest.mark.parametrize("name", ["qwen35", "qwen3next", "nemotron-h-moe", "lfm2", "mamba"])
def test_recurrent_states(tmp_path: Path, name: str) -> None:
    path = unpack(name, tmp_path) if name != "mamba" else write_recurrent(tmp_path / "mamba.gguf")
    assert all(History(path, seed).run(40) > 2 for seed in range(2))


def test_a_draft_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = write_wide(tmp_path / "model.gguf", "F16")
    draft = write_wide(tmp_path / "draft.gguf", "Q4_0")
    drafted = eager(monkeypatch)
    for seed in range(2):
        assert History(model, seed, count=16, drafts=4, draft=draft).run(40) > 2
    assert sum(drafted) > 100


def test_a_head_that_drafts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_qwen35(tmp_path / "model.gguf")
    drafted = eager(monkeypatch)
    for seed in range(2):
        assert History(path, seed, count=16, drafts=4).run(40) > 2
    assert sum(drafted) > 100


def eager(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let drafters draft at any cost for requests that run alone; return the tokens by step."""
    drafted: list[int] = []
    init = Loop.__init__

    def make(loop: Loop, path: Path, *, num_ctx: int = 1024, draft: Path | None = None) -> None:
        init(loop, path, num_ctx=num_ctx, draft=draft)
        drafter = loop.drafter
        assert drafter
        drafter._first_costs = Eager(1.0, 1.0)
        propose = drafter._propose

        def count(going: list[Task]) -> None:
            propose(going)
            drafted.append(sum(len(track.drafts) for _, track, _ in going))

        monkeypatch.setattr(drafter, "_propose", count)

    monkeypatch.setattr(Loop, "__init__", make)
    return drafted
