"""The README matches the code, and the example notebook runs."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from jupyter_ollama_magics.commands import SUBCOMMANDS
from jupyter_ollama_magics.magics import OllamaMagics
from jupyter_ollama_magics.subcommand import markdown_rows
from nbclient import NotebookClient
from scripted_server import ScriptedServer

ROOT = Path(__file__).parents[2]


def section(title: str) -> str:
    """Return the README's section ``title``."""
    readme = (ROOT / "magics/README.md").read_text("utf-8")
    return re.split(r"^## ", readme, flags=re.M)[
        [part.splitlines()[0] for part in re.split(r"^## ", readme, flags=re.M)].index(title)
    ]


@pytest.mark.parametrize(("title", "magic"), [("%%chat", "chat"), ("%embed", "embed")])
def test_options(title: str, magic: str) -> None:
    rows = re.findall(r"^\| (`-.*?) \|", section(title), re.M)
    documented = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", " ".join(rows)))
    options = getattr(OllamaMagics, magic).parser.format_help().partition("options:")[2]
    lines = re.findall(r"^  (-.*?)(?:  |$)", options, re.M)
    assert documented == set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", " ".join(lines)))


def test_commands() -> None:
    rows = re.findall(r"^\| `%.*", section("%ollama"), re.M)
    assert rows == list(markdown_rows(SUBCOMMANDS))


def test_settings() -> None:
    documented = re.findall(r"^\| `(\w+)` \| (\S*) ?\|", section("Settings"), re.M)
    traits = OllamaMagics.class_own_traits(config=True)
    assert {name: default for name, default in documented if default} == {
        name: f"{trait.default_value:g}"
        if isinstance(trait.default_value, float)
        else str(trait.default_value)
        for name, trait in traits.items()
        if trait.default_value
    }
    assert {name for name, _ in documented} == set(traits)


def test_quickstart_runs(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", server.url)
    server.models[0]["name"] = "smollm2:latest"
    notebook = nbformat.read(ROOT / "examples/quickstart.ipynb", as_version=nbformat.NO_CONVERT)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    # The scripted answer is no value of the schema.
    notebook.cells = [cell for cell in notebook.cells if cell.source != "answer.parsed"]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    NotebookClient(notebook, kernel_name="python3", timeout=60).execute()
    assert code[-1].outputs[0].data["text/plain"].count("\n") == 3
    chats = [cell for cell in code if cell.source.startswith("%%chat")]
    assert all(len(cell.outputs) == 1 for cell in chats)
    _, second, third = [body["messages"] for body in server.bodies("/api/chat")]
    assert [message["role"] for message in second] == ["system", "user", "assistant", "user"]
    assert "an island" in second[-1]["content"]
    assert [message["content"][-12:] for message in third] == ["Hello there."]
