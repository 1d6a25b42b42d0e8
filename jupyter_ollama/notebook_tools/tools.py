"""The tools themselves. Jupyter's MCP server makes their schemas from signatures and docstrings."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from nbformat.v4 import new_code_cell, new_markdown_cell, new_raw_cell

from . import kernel
from .access import Access, ToolError, current
from .cells import described, joined, outputs_text, plain, shortened
from .document import Notebook, open_notebook, read_model

_MAKERS: dict[str, Callable[[str], Any]] = {
    "code": new_code_cell,
    "markdown": new_markdown_cell,
    "raw": new_raw_cell,
}
_VARIABLE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_MOST_FILES = 500


def _allowed(name: str) -> Access:
    access = current()
    access.require(name)
    return access


async def list_files(folder: str = "") -> list[dict[str, Any]]:
    """List the files and folders in a folder of the Jupyter server, "" for the topmost."""
    access = _allowed("list_files")
    model = await read_model(access, folder, "directory")
    entries = sorted(model["content"], key=lambda entry: str(entry["path"]))
    return [
        {"path": entry["path"], "type": entry["type"], "size": entry.get("size")}
        for entry in entries[:_MOST_FILES]
    ]


async def read_file(path: str) -> str:
    """Read a text file of the Jupyter server; long ones are cut."""
    access = _allowed("read_file")
    model = await read_model(access, path, "file")
    if model["format"] != "text":
        raise ToolError(f"{path} is not a text file")
    return access.cut(str(model["content"]))


async def read_notebook(path: str) -> dict[str, Any]:
    """Read a notebook: number, id, type, source and outputs of its cells; long texts are cut."""
    access = _allowed("read_notebook")
    notebook = await open_notebook(access, path)
    cells = [described(cell, number) for number, cell in enumerate(notebook.cells())]
    return {"path": path, "cells": shortened(cells, access.settings.notebook_tool_max_text)}


async def read_cell(path: str, cell: int | str) -> dict[str, Any]:
    """Read a cell of a notebook, by its number from 0 or its id."""
    access = _allowed("read_cell")
    notebook = await open_notebook(access, path)
    number = _number(notebook, cell)
    found = described(notebook.cells()[number], number)
    return shortened([found], access.settings.notebook_tool_max_text)[0]


async def add_cell(
    path: str, source: str, number: int = -1, cell_type: str = "code"
) -> dict[str, Any]:
    """Add a cell to a notebook, before the cell of that number, or at the end for -1.

    cell_type is "code", "markdown" or "raw". The cell is not run.
    """
    access = _allowed("add_cell")
    if cell_type not in _MAKERS:
        raise ToolError(f"cell_type is one of {', '.join(_MAKERS)}")
    notebook = await open_notebook(access, path)
    count = len(notebook.cells())
    if not -1 <= number <= count:
        raise ToolError(f"{path} has {count} cells: number goes from 0 to {count}")
    number = count if number == -1 else number
    notebook.insert(number, dict(_MAKERS[cell_type](source)))
    await notebook.save()
    return {"number": number, "id": str(notebook.cells()[number].get("id", ""))}


async def edit_cell(path: str, cell: int | str, source: str) -> dict[str, Any]:
    """Replace the source of a cell of a notebook, by its number from 0 or its id.

    The outputs of the former source are removed. The cell is not run.
    """
    access = _allowed("edit_cell")
    notebook = await open_notebook(access, path)
    number = _number(notebook, cell)
    changed = dict(notebook.cells()[number]) | {"source": source}
    if changed["cell_type"] == "code":
        changed |= {"outputs": [], "execution_count": None}
    notebook.replace(number, changed)
    await notebook.save()
    return {"number": number, "id": str(changed.get("id", ""))}


async def delete_cell(path: str, cell: int | str) -> dict[str, Any]:
    """Delete a cell of a notebook, by its number from 0 or its id; return what it was."""
    access = _allowed("delete_cell")
    notebook = await open_notebook(access, path)
    number = _number(notebook, cell)
    deleted = described(notebook.cells()[number], number)
    notebook.remove(number)
    await notebook.save()
    return {"deleted": shortened([deleted], access.settings.notebook_tool_max_text)[0]}


async def run_cell(path: str, cell: int | str) -> dict[str, Any]:
    """Run a code cell of a notebook in its kernel and save its outputs; return them as text."""
    access = _allowed("run_cell")
    notebook = await open_notebook(access, path)
    number = _number(notebook, cell)
    asked = notebook.cells()[number]
    if asked["cell_type"] != "code":
        raise ToolError(f"cell {cell} is not a code cell")
    code = joined(asked["source"])
    outputs, count, status = await kernel.run(access, path, code)
    saved = await _keep_outputs(access, path, asked, number, outputs, count)
    text = access.cut(outputs_text(outputs))
    return {"status": status, "execution_count": count, "outputs": text, "saved": saved}


async def inspect_variable(path: str, name: str) -> str:
    """Describe a variable in the kernel of a notebook: its type, value, length and docstring."""
    access = _allowed("inspect_variable")
    if not _VARIABLE.fullmatch(name):
        raise ToolError(f"{name!r} is not the name of a variable")
    return access.cut(plain(await kernel.inspect(access, path, name)))


async def list_models() -> list[dict[str, Any]]:
    """List the language models of the Jupyter server, with their sizes in bytes."""
    access = _allowed("list_models")
    return list(await access.models())


def _number(notebook: Notebook, cell: int | str) -> int:
    """Return the number of a cell that is given by number or id. Raises ToolError."""
    cells = notebook.cells()
    for number, found in enumerate(cells):
        if found.get("id") and found["id"] == cell:
            return number
    if str(cell).isdigit() and int(cell) < len(cells):
        return int(cell)
    raise ToolError(f"there is no cell {cell!r}: the notebook has {len(cells)} cells")


async def _keep_outputs(
    access: Access,
    path: str,
    asked: dict[str, Any],
    number: int,
    outputs: list[dict[str, Any]],
    count: int | None,
) -> bool:
    """Put outputs into the cell that ran, unless it was changed or deleted meanwhile."""
    notebook = await open_notebook(access, path)
    try:
        number = _number(notebook, str(asked.get("id") or number))
    except ToolError:
        return False
    found = dict(notebook.cells()[number])
    if joined(found["source"]) != joined(asked["source"]):
        return False
    notebook.replace(number, found | {"outputs": outputs, "execution_count": count})
    await notebook.save()
    return True
