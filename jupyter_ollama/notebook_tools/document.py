"""A notebook of the server: the shared document while it is open, else the file."""

from __future__ import annotations

from typing import Any, Protocol

import nbformat
from jupyter_core.utils import ensure_async
from tornado.web import HTTPError

from .access import Access, ToolError


class Notebook(Protocol):
    """A notebook that can be read and changed; a change is complete once ``save`` returns."""

    def cells(self) -> list[dict[str, Any]]:
        """Return all cells."""

    def insert(self, number: int, cell: dict[str, Any]) -> None:
        """Insert a cell."""

    def replace(self, number: int, cell: dict[str, Any]) -> None:
        """Replace a cell."""

    def remove(self, number: int) -> None:
        """Remove a cell."""

    async def save(self) -> None:
        """Make the changes permanent."""


async def open_notebook(access: Access, path: str) -> Notebook:
    """Return a notebook. Raises ToolError if there is none."""
    shared = await _shared_document(access, path)
    if shared is not None:
        return SharedNotebook(shared)
    return await FileNotebook.read(access, path)


class FileNotebook:
    """The file of a notebook, by the contents manager."""

    def __init__(self, access: Access, path: str, node: Any) -> None:
        self._access = access
        self._path = path
        self._node = node

    @classmethod
    async def read(cls, access: Access, path: str) -> FileNotebook:
        """Read the file. Raises ToolError."""
        model = await read_model(access, path, "notebook")
        return cls(access, path, model["content"])

    def cells(self) -> list[dict[str, Any]]:
        """Return all cells."""
        return list(self._node.cells)

    def insert(self, number: int, cell: dict[str, Any]) -> None:
        """Insert a cell."""
        self._node.cells.insert(number, self._fitting(cell))

    def replace(self, number: int, cell: dict[str, Any]) -> None:
        """Replace a cell."""
        self._node.cells[number] = self._fitting(cell)

    def remove(self, number: int) -> None:
        """Remove a cell."""
        del self._node.cells[number]

    async def save(self) -> None:
        """Write the file."""
        model = {"type": "notebook", "format": "json", "content": self._node}
        contents = self._access.serverapp.contents_manager
        try:
            await ensure_async(contents.save(model, self._path))
        except HTTPError as error:
            raise ToolError(f"{self._path}: {error.log_message or error.reason}") from error

    def _fitting(self, cell: dict[str, Any]) -> Any:
        """Return a cell as the format of this file has it: ids exist since 4.5."""
        node = nbformat.from_dict(cell)
        if (self._node.nbformat, self._node.nbformat_minor) < (4, 5):
            node.pop("id", None)
        return node


class SharedNotebook:
    """The document that JupyterLab's pages share where jupyter-collaboration is installed."""

    def __init__(self, document: Any) -> None:
        self._document = document

    def cells(self) -> list[dict[str, Any]]:
        """Return all cells."""
        return [self._document.get_cell(number) for number in range(self._document.cell_number)]

    def insert(self, number: int, cell: dict[str, Any]) -> None:
        """Insert a cell."""
        self._document.ycells.insert(number, self._document.create_ycell(cell))

    def replace(self, number: int, cell: dict[str, Any]) -> None:
        """Replace a cell."""
        self._document.set_cell(number, cell)

    def remove(self, number: int) -> None:
        """Remove a cell."""
        del self._document.ycells[number]

    async def save(self) -> None:
        """Do nothing: the pages have the change, and the collaboration extension saves it."""


async def read_model(access: Access, path: str, kind: str | None, content: bool = True) -> Any:
    """Return a model of the contents manager. Raises ToolError."""
    contents = access.serverapp.contents_manager
    try:
        return await ensure_async(contents.get(path.strip("/"), content=content, type=kind))
    except HTTPError as error:
        raise ToolError(error.log_message or error.reason or f"there is no {path}") from error


async def _shared_document(access: Access, path: str) -> Any:
    """Return the shared document of an open notebook, None where it is not open or not shared."""
    extension = access.serverapp.extension_manager.extension_points.get("jupyter_server_ydoc")
    if extension is None or extension.app is None:
        return None
    return await extension.app.get_document(
        path=path.strip("/"), content_type="notebook", file_format="json", copy=False
    )
