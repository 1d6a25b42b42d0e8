"""The notebooks of examples/ run, end with something to look at, and show what they would show."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import example_outputs as examples
import nbformat
import pytest
from nbformat import NotebookNode
from run_notebook import jupyter_server, kernel

KEPT = [name for name in examples.notebooks() if name not in examples.LARGE]
"""The notebooks whose outputs are in the files."""
OF_A_MACHINE = re.compile(
    r"Error|Traceback|/home/|/root/|/tmp/|/Users/|site-packages|[A-Z]:\\\\"
    r"| at 0x[0-9a-f]+|tokens/s|127\.0\.0\.1|\bago\b|\d\d:\d\d:\d\d"
)
"""What an output must not contain: failures, paths, addresses, speeds, times."""


def kinds(notebook: NotebookNode) -> list[set[str]]:
    """Return the kinds of the outputs of each code cell."""
    return [
        {
            kind
            for output in cell.outputs
            if not examples.empty(output)
            for kind in output.get("data", {output.output_type: ""})
        }
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def check(name: str) -> None:
    """Run a notebook; it must end with a table or plot and show what its file shows."""
    fresh = kinds(examples.executed(name))
    assert fresh[-1] & {"text/html", "image/png"}, "no table and no plot at the end"
    if name in KEPT:
        assert fresh == kinds(examples.read(name)), "renew it: python tools/example_outputs.py"


@pytest.mark.parametrize("name", sorted({*examples.notebooks()} - examples.HUB - {"dask"}))
def test_notebooks(
    name: str, example_server: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in example_server.items():
        monkeypatch.setenv(variable, value)
    check(name)


def test_the_class_at_a_hub(
    example_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with examples.hub(example_store, tmp_path) as variables:
        for variable, value in variables.items():
            monkeypatch.setenv(variable, value)
        check("class")


def test_dask_in_a_jupyter_server_with_a_token(
    example_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers find the token of the server that has started the notebook's kernel."""
    monkeypatch.setenv("OLLAMA_MODELS", str(example_store))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    notebook = examples.EXAMPLES / "dask.ipynb"
    shown: list[dict[str, Any]] = []
    with jupyter_server(examples.EXAMPLES) as running, kernel(running, notebook) as client:
        assert running.token
        for cell in nbformat.read(notebook, as_version=4).cells:
            if cell.cell_type == "code":
                shown.clear()
                reply = client.execute_interactive(
                    cell.source, timeout=200, allow_stdin=False, output_hook=shown.append
                )
                assert reply["content"]["status"] == "ok", shown
    assert any("image/png" in message["content"].get("data", {}) for message in shown)


@pytest.mark.parametrize("name", KEPT)
def test_outputs_are_those_of_the_present_sources(name: str) -> None:
    notebook = examples.read(name)
    renew = "renew them: python tools/example_outputs.py"
    assert notebook.metadata.get(examples.SOURCES) == examples.source_hash(notebook), renew
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    counts = [cell.execution_count for cell in code]
    assert counts == list(range(1, len(code) + 1)), renew


@pytest.mark.parametrize("name", KEPT)
def test_outputs_say_nothing_of_a_machine(name: str) -> None:
    for cell in examples.read(name).cells:
        for output in cell.get("outputs", ()):
            assert output.output_type != "error"
            for kind, content in {
                "stream": output.get("text", ""),
                **output.get("data", {}),
            }.items():
                if not kind.startswith("image/"):
                    assert not OF_A_MACHINE.search(str(content)), (cell.id, kind, content)


def test_outputs_of_stand_ins_are_not_kept() -> None:
    for name in examples.LARGE:
        assert not any(cell.get("outputs") for cell in examples.read(name).cells), name
