"""%ollama create: from files of this host, by a Modelfile, and in a cell."""

from __future__ import annotations

import os
import pty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_ollama_client import parameters
from jupyter_ollama_client.client import Client
from jupyter_ollama_magics.completion import fragment
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.progress import TerminalSteps
from real_kernel import Kernel
from scripted_model import MESSAGES, write_scripts

from jupyter_ollama import options

TEMPLATE = "{{ if .System }}{{ .System }} {{ end }}{{ .Prompt }}"


@pytest.fixture
def parrot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A GGUF in the current folder, which no server has."""
    monkeypatch.chdir(tmp_path)
    script = {"HI": f"I am {os.urandom(4).hex()}."}
    return write_scripts(tmp_path / "parrot.gguf", script, template=MESSAGES)


@pytest.fixture
def client(chat_server: str) -> Iterator[Client]:
    """A client of the real server, which loses the models that a test makes."""
    client = Client(chat_server)
    before = {model["name"] for model in client.list()}
    yield client
    for name in {model["name"] for model in client.list()} - before:
        client.delete(name)
    client.close()


def ollama(shell: InteractiveShell, line: str) -> Any:
    return shell.run_line_magic("ollama", line)


def test_a_gguf_file_becomes_a_model(
    chat_shell: InteractiveShell,
    client: Client,
    parrot: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ollama(chat_shell, "create parrot ./parrot.gguf --system 'Be brief.'")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["reading parrot.gguf", "uploading parrot.gguf"]
    assert lines[-1] == "Created parrot."
    assert client.show("parrot")["system"] == "Be brief."
    answer = chat_shell.run_cell_magic("chat", "parrot --temperature 0", "HI")
    assert answer.text.startswith("I am ")
    ollama(chat_shell, "create again parrot.gguf")
    assert "uploading" not in capsys.readouterr().out


def test_a_modelfile_describes_the_model(
    chat_shell: InteractiveShell, client: Client, parrot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = parrot.parent / "poets"
    folder.mkdir()
    (folder / "Poet").write_text(
        "# paths count from here\nFROM ../parrot.gguf\nSYSTEM Answer in rhymes.\n"
        f'PARAMETER temperature 0.5\nPARAMETER stop "###"\nTEMPLATE {TEMPLATE}\n'
        "MESSAGE user Hi\nMESSAGE assistant Oh my\n"
    )
    ollama(chat_shell, "create poet -f poets/Poet -p top_k=7 -p temperature=0.25")
    shown = client.show("poet")
    assert (shown["system"], shown["template"]) == ("Answer in rhymes.", TEMPLATE)
    assert [message["content"] for message in shown["messages"]] == ["Hi", "Oh my"]
    values = dict(line.split(maxsplit=1) for line in shown["parameters"].splitlines())
    assert values == {"temperature": "0.25", "stop": '"###"', "top_k": "7"}
    monkeypatch.chdir(folder)
    (folder / "Modelfile").write_text("FROM poet\nSYSTEM Be silent.\n")
    ollama(chat_shell, "create mute")
    assert client.show("mute")["system"] == "Be silent."


def test_a_cell_is_the_modelfile(chat_kernel: Kernel, client: Client, parrot: Path) -> None:
    chat_kernel.run("System = 'not me'")
    cell = f"%%ollama create celled -q q8_0\nFROM {parrot}\n\nTEMPLATE {TEMPLATE}\n"
    reply, messages = chat_kernel.run(cell)
    assert reply["status"] == "ok", reply
    assert messages[0][0] == "display_data"
    assert {kind for kind, _ in messages[1:]} == {"update_display_data"}
    texts = [content["data"]["text/plain"] for _, content in messages]
    assert "reading parrot.gguf  ▕" in texts[0]
    assert any("uploading parrot.gguf" in text for text in texts)
    assert texts[-1] == "Created celled."
    shown = client.show("celled")
    assert shown["template"] == TEMPLATE
    assert shown["details"]["quantization_level"] == "Q8_0"


@pytest.mark.parametrize(
    ("line", "cell", "expected"),
    [
        ("create a", None, r"^Usage: %ollama create NAME FROM, .* -f MODELFILE, or a cell"),
        ("create a smollm2 -f Modelfile", None, "one of the three"),
        ("create a -f nowhere/Poet", None, r"^nowhere/Poet: No such file or directory\.$"),
        ("create a ./nowhere.gguf", None, r"^no such file or folder: \./nowhere\.gguf$"),
        ("create a", "SYSTEM x", "^no FROM line$"),
        ("create a", "FROM smollm2\nPARAMETER tempo 1", "^unknown parameter 'tempo'$"),
        ("create a", "FROM smollm2\nSYSTEMS x", r"^\(line 2\): command must be one of"),
        ("create a smollm2", "FROM smollm2", "one of the three"),
        ("create a", "FROM 127.0.0.1:9/me/nope", "127.0.0.1:9: no connection to the registry"),
        ("list", "x", r"^Only create takes a cell: %%ollama create NAME\.$"),
    ],
)
def test_mistakes(
    chat_shell: InteractiveShell,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    cell: str | None,
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    run = chat_shell.run_cell_magic if cell else chat_shell.run_line_magic
    with pytest.raises(OllamaMagicsError, match=expected):
        run("ollama", line, *filter(None, [cell]))


def test_parameters_are_the_options_of_the_server() -> None:
    theirs = {name: kind for name, kind in options.TYPES.items() if not kind.startswith("a map")}
    assert theirs == parameters.TYPES


def test_a_terminal_keeps_the_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    outer, inner = pty.openpty()
    with os.fdopen(inner, "w") as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        view = TerminalSteps(refresh_hz=15)
        view.show({"status": "pulling manifest"})
        view.show({"status": "pulling x", "total": 10, "completed": 5})
        view.show({"status": "pulling x", "total": 10, "completed": 10})
        view.show({"status": "writing manifest"})
        view.close("Created x.")
        read = b""
        while not read.endswith(b"Created x.\r\n"):  # a terminal is read by pieces
            read += os.read(outer, 65536)
    os.close(outer)
    shown = read.decode()
    lines = [line.rpartition("\x1b[2K")[2] for line in shown.split("\r\n")]
    assert lines == [f"pulling x  ▕{'█' * 30}▏ 100 %  10 B", "Created x.", ""]
    assert "50 %  5 B of 10 B" in shown


def test_completion_of_base_models() -> None:
    assert fragment("%%ollama create poet smo") == "smo"
    assert fragment("%ollama create poet -f Mod") is None
