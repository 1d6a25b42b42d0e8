"""The notebooks of examples/ run from top to bottom and end with something to look at."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from cli_process import serving
from nbclient import NotebookClient
from run_notebook import jupyter_server, kernel
from scripted_model import MESSAGES, write_scripts
from store_models import add_model, add_seeing_model

from jupyter_ollama.library.library import Library

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))
CALL = '<tool_call>\n{"name": "in_stock", "arguments": {"bike": "Cleo"}}\n</tool_call>'
MARKS = ("<tool_call>", "</tool_call>", "<think>", "</think>")
ABLE = "{# <tool_call> <think> </think> #}{% if tools %}{{ tools | length }} tools{% endif %}"


@pytest.fixture(scope="module")
def url(ollama_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with the small models, and with stand-ins for those that are too large for a test.

    They answer by scripts and see nothing, through the same code as the large ones.
    """
    folder = tmp_path_factory.mktemp("examples")
    models = folder / "models"
    shutil.copytree(ollama_store, models, copy_function=os.link)
    library = Library.open(models)
    scripts = {"Cleo": CALL, "7": "There are 7 Cleo bikes left."}
    path = write_scripts(folder / "tools.gguf", scripts, special=MARKS, template=ABLE + MESSAGES)
    add_model(library, "qwen3:4b", path)
    add_seeing_model(library, "gemma3:4b", folder)
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "HOME": str(folder), "PATH": programs}
    with serving(environment, models, folder) as served:
        yield f"http://{served.host}"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks(name: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", url)
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    client = NotebookClient(notebook, timeout=200, resources={"metadata": {"path": EXAMPLES}})
    client.execute()
    shown = {kind for output in notebook.cells[-1].outputs for kind in output.get("data", {})}
    assert shown & {"text/html", "image/png"}, "no table and no plot at the end"


def test_dask_in_a_jupyter_server_with_a_token(
    ollama_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers find the token of the server that has started the notebook's kernel."""
    monkeypatch.setenv("OLLAMA_MODELS", str(ollama_store))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    notebook = EXAMPLES / "dask.ipynb"
    cells = nbformat.read(notebook, as_version=4).cells
    with jupyter_server(EXAMPLES) as server, kernel(server, notebook) as client:
        assert server.token
        for cell in cells:
            if cell.cell_type == "code":
                shown: list[dict[str, object]] = []
                reply = client.execute_interactive(
                    cell.source, timeout=200, allow_stdin=False, output_hook=shown.append
                )
                assert reply["content"]["status"] == "ok", shown


def test_outputs_are_not_kept() -> None:
    for name in NOTEBOOKS:
        notebook = nbformat.read(EXAMPLES / name, as_version=4)
        assert not any(cell.get("outputs") for cell in notebook.cells), name
