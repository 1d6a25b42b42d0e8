"""The tools for notebooks in a real Jupyter server: what is allowed, changed, run and cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from traitlets import TraitError
from traitlets.config import Config

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.notebook_tools import entry_point, tools
from jupyter_ollama.notebook_tools.access import ToolError
from jupyter_ollama.notebook_tools.cells import shortened
from jupyter_ollama.notebook_tools.settings import NAMES

BOOK = "book.ipynb"
ALLOWED = [name for name in NAMES if name != "delete_cell"]


@pytest.fixture
def jp_server_config(jp_server_config: Config) -> Config:
    jp_server_config.OllamaServer.notebook_tools = ALLOWED
    jp_server_config.OllamaServer.notebook_tool_max_text = 600
    return jp_server_config


@pytest.fixture
def book(jp_serverapp: Any, jp_root_dir: Path) -> Path:
    """A notebook in the folder of the server."""
    cells = [
        nbformat.v4.new_code_cell("values = [1, 2]\nsum(values)"),
        nbformat.v4.new_markdown_cell("text " * 400),
    ]
    path = jp_root_dir / BOOK
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def sources(path: Path) -> list[str]:
    """Return the sources of the cells of a file, which must be a valid notebook."""
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    return [cell.source for cell in notebook.cells]


async def test_only_allowed_tools_are_offered_and_work(book: Path) -> None:
    assert entry_point.tools() == [f"jupyter_ollama.notebook_tools.tools:{one}" for one in ALLOWED]
    before = book.read_bytes()
    with pytest.raises(ToolError, match=r"delete_cell is not allowed: see OllamaServer\.notebook"):
        await tools.delete_cell(BOOK, 0)
    assert book.read_bytes() == before
    assert {path.rpartition(":")[2] for path in entry_point.tools()} == {*ALLOWED}
    assert all(callable(getattr(tools, name)) for name in NAMES)
    with pytest.raises(TraitError):
        OllamaServer(notebook_tools=["rm"])


async def test_cells_are_added_edited_and_found_by_id_and_number(book: Path) -> None:
    added = await tools.add_cell(BOOK, "new = 1", number=1)
    assert added["number"] == 1
    await tools.edit_cell(BOOK, added["id"], "new = 2")
    await tools.add_cell(BOOK, "# End", cell_type="markdown")
    assert sources(book)[1] == "new = 2"
    assert sources(book)[3] == "# End"
    assert (await tools.read_cell(BOOK, added["id"])) == (await tools.read_cell(BOOK, "1"))
    for arguments in ({"number": 9}, {"number": -2}, {"cell_type": "sql"}):
        with pytest.raises(ToolError):
            await tools.add_cell(BOOK, "x", **arguments)
    for cell in ("absent", 99, -1, ""):
        with pytest.raises(ToolError, match="there is no cell"):
            await tools.edit_cell(BOOK, cell, "x")
    assert len(sources(book)) == 4


async def test_texts_are_cut_and_no_cell_is_lost(book: Path) -> None:
    found = await tools.read_notebook(BOOK)
    first, second = found["cells"]
    assert first["source"] == "values = [1, 2]\nsum(values)"
    assert second["source"].endswith(" of 2000)")
    assert len(second["source"]) < 600
    cells = [{"source": "x" * length} for length in (10, 5000, 0, 300)]
    assert [len(cell["source"]) for cell in shortened(cells, 900)][::2] == [10, 0]


async def test_a_cell_runs_in_its_kernel_and_keeps_its_outputs(
    book: Path, jp_serverapp: Any
) -> None:
    with pytest.raises(ToolError, match="no running kernel"):
        await tools.inspect_variable(BOOK, "values")
    ran = await tools.run_cell(BOOK, 0)
    assert (ran["status"], ran["outputs"], ran["saved"]) == ("ok", "3", True)
    assert "[1, 2]" in await tools.inspect_variable(BOOK, "values")
    for name in ("absent", "values; 1", "__import__('os')"):
        with pytest.raises(ToolError):
            await tools.inspect_variable(BOOK, name)
    saved = nbformat.read(book, 4)
    assert saved.cells[0].outputs[0].data["text/plain"] == "3"
    # An edit removes outputs of the former source.
    await tools.edit_cell(BOOK, 0, "1 / 0")
    assert nbformat.read(book, 4).cells[0].outputs == []
    ran = await tools.run_cell(BOOK, 0)
    assert (ran["status"], ran["outputs"]) == ("error", "ZeroDivisionError: division by zero")
    with pytest.raises(ToolError, match="not a code cell"):
        await tools.run_cell(BOOK, 1)


async def test_nothing_outside_of_the_folder_is_read(book: Path, jp_root_dir: Path) -> None:
    (jp_root_dir.parent / "secret.txt").write_text("secret")
    (jp_root_dir / ".hidden").write_text("secret")
    for path in ("../secret.txt", str(jp_root_dir.parent / "secret.txt"), ".hidden", "absent"):
        with pytest.raises(ToolError):
            await tools.read_file(path)
    assert [one["path"] for one in await tools.list_files()] == [BOOK]
    assert await tools.list_models() == []
