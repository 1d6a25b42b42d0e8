"""Budgets as a notebook shows them: a line below the answer, and %ollama usage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cli_process import serving
from IPython.core.interactiveshell import InteractiveShell
from scripted_model import write_scripts
from store_models import add_model

from jupyter_ollama.library.library import Library

LIMITS = '{"*": {"tokens_per_day": 1000, "tokens_per_month": 2000, "soft": 0.01}}'


def test_a_budget_that_is_nearly_spent_is_noted(
    tmp_path: Path,
    shell: InteractiveShell,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    weights = write_scripts(tmp_path / "teller.gguf", {"SAY": "It is done."})
    add_model(Library.open(tmp_path / "models"), "teller", weights)
    setting = f"--OllamaServer.limits={LIMITS}"
    with serving({**os.environ}, tmp_path / "models", tmp_path, setting) as served:
        monkeypatch.setenv("JUPYTER_OLLAMA_URL", f"http://{served.host}")
        shell.run_cell_magic("chat", "teller --new -o answer", "hi")
        answer = shell.user_ns["answer"]
        metrics = answer.metrics
        spent = metrics["prompt_eval_count"] + metrics["eval_count"]
        assert f"you have used {spent} tokens, the limit is 1000 a day" in answer.footer
        shell.run_line_magic("ollama", "usage")
        line = capsys.readouterr().out
        assert f"Yours: {1000 - spent} of 1000 tokens a day left." in line
        assert f"Yours: {2000 - spent} of 2000 tokens a month left, until 20" in line
