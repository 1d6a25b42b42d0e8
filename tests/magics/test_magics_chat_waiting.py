"""What a cell shows before its answer begins, and what ``%ollama usage`` tells."""

from __future__ import annotations

from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.stream_view import waiting_for
from real_kernel import Kernel
from scripted_server import ScriptedServer


@pytest.mark.parametrize(
    ("chunk", "text"),
    [
        ({"status": "queued", "position": 1}, "waiting, 1st in line"),
        ({"status": "queued", "position": 3}, "waiting, 3rd in line"),
        ({"status": "queued", "position": 12}, "waiting, 12th in line"),
        ({"status": "queued", "position": 22}, "waiting, 22nd in line"),
        ({"status": "loading"}, "loading the model"),
        ({"status": "prompt", "completed": 30, "total": 120}, "reading the prompt, 25 %"),
    ],
)
def test_statuses(chunk: dict[str, Any], text: str) -> None:
    assert waiting_for(chunk) == text


def test_the_place_in_line_is_shown_until_the_answer_comes(
    kernel: Kernel, server: ScriptedServer
) -> None:
    status = {"status": "queued"}
    server.steps = [{**status, "position": 3}, 0.6, {**status, "position": 2}, 0.1, "Hello."]
    reply, messages = kernel.run("%%chat smollm2:135m\nhi")
    assert reply["status"] == "ok"
    shown = [content["data"]["text/markdown"] for _, content in messages]
    assert shown[0] == "<sub>waiting, 2nd in line…</sub>"
    assert shown[-1].startswith("Hello.")
    assert "waiting" not in shown[-1]


def test_usage_of_a_real_server(
    chat_shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    chat_shell.run_cell_magic("chat", "smollm2 --new --num-predict 2", "hi")
    table = chat_shell.run_line_magic("ollama", "usage")
    assert "tokens in the last minute" in capsys.readouterr().out
    assert list(table.columns)[:3] == ["period", "model", "requests"]


def test_a_server_without_accounts(shell: InteractiveShell) -> None:
    with pytest.raises(OllamaMagicsError, match="keeps no account"):
        shell.run_line_magic("ollama", "usage")
