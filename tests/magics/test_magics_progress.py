"""%ollama pull shows its progress."""

from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.progress import StepLines, bar
from real_kernel import Kernel
from scripted_server import ScriptedServer

LAYER = {"status": "pulling 2bada8a74506", "digest": "sha256:2bada8a74506", "total": 4_000_000_000}
STEPS = [
    {"status": "pulling manifest"},
    LAYER,
    {**LAYER, "completed": 1_000_000_000},
    {**LAYER, "completed": 4_000_000_000},
    {"status": "success"},
]


def test_bars() -> None:
    assert bar("pulling x", 0, 10) == f"pulling x  ▕{' ' * 30}▏   0 %  0 B of 10 B"
    assert bar("pulling x", 5, 10) == f"pulling x  ▕{'█' * 15}{' ' * 15}▏  50 %  5 B of 10 B"
    assert bar("pulling x", 10, 10) == f"pulling x  ▕{'█' * 30}▏ 100 %  10 B"
    assert bar("pulling x", 0, 0).endswith("100 %  0 B")


def test_a_line_for_each_layer() -> None:
    lines = StepLines()
    assert [lines.add(step) for step in STEPS] == [True, True, False, False, True]
    shown = str(lines).splitlines()
    assert [shown[0], shown[-1]] == ["pulling manifest", "success"]
    assert shown[1] == bar("pulling 2bada8a74506", 4_000_000_000, 4_000_000_000)


def test_notebook_updates_one_output(server: ScriptedServer, kernel: Kernel) -> None:
    server.steps = [*STEPS[:2], 0.3, STEPS[2], 0.3, *STEPS[3:]]
    reply, messages = kernel.run("%ollama pull llama3 --insecure")
    assert reply["status"] == "ok"
    kinds = [kind for kind, _ in messages]
    assert kinds[0] == "display_data"
    assert set(kinds[1:]) == {"update_display_data"}
    texts = [content["data"]["text/plain"] for _, content in messages]
    assert texts[0] == "pulling manifest"
    assert any("25 %  1 GB of 4 GB" in text for text in texts)
    assert texts[-1].endswith("100 %  4 GB\nsuccess")
    assert server.bodies("/api/pull") == [{"model": "llama3", "insecure": True}]


def test_terminal_prints_each_line_once(
    server: ScriptedServer, shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    server.steps = STEPS
    shell.run_line_magic("ollama", "pull llama3")
    out = capsys.readouterr().out
    assert out == "pulling manifest\npulling 2bada8a74506\nsuccess\n"
    assert server.bodies("/api/pull") == [{"model": "llama3"}]


def test_error_of_a_pull(server: ScriptedServer, shell: InteractiveShell) -> None:
    server.steps = [STEPS[0], {"error": "pull model manifest: file does not exist"}]
    with pytest.raises(OllamaMagicsError, match="pull model manifest: file does not exist"):
        shell.run_line_magic("ollama", "pull nothing")
    with pytest.raises(OllamaMagicsError, match=r"Usage: %ollama pull NAME \[--insecure\]"):
        shell.run_line_magic("ollama", "pull")
