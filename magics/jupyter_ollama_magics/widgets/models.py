"""Manage the models of a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import ipywidgets as ipw

from .. import background
from ..failures import OllamaMagicsError
from ..markdown import safe_markdown
from ..reporting import reported
from .model_table import COLUMNS, ModelRow, listed
from .pull import PullProgress
from .server import own_connection
from .snapshot import Snapshot

_WIDTHS = "minmax(9em, 3fr) repeat(4, minmax(max-content, 1fr)) auto"
_HEADING = "<b style='white-space: nowrap'>{}</b>"
_FLEXIBLE = {"min_width": "0", "overflow": "hidden"}


class ModelManager(ipw.VBox):
    """A table of the models on the server, with buttons to pull, load, unload and delete them.

    Users without the right to change models see no buttons to pull and delete.

    Examples
    --------
    >>> from jupyter_ollama_magics.widgets import ModelManager
    >>> manager = ModelManager()
    >>> manager.refresh()
    """

    def __init__(self) -> None:
        self._connection = own_connection()
        self._models: list[ModelRow] = []
        self._doomed = ""
        self._may_manage = False
        self._snapshot = Snapshot()
        self._name = ipw.Text(
            placeholder="Name of a model to pull, such as gemma3:1b",
            continuous_update=False,
            layout={"flex": "1 1 auto", "width": "auto", "max_width": "28em"},
        )
        self._pulls = ipw.VBox()
        self._table = ipw.GridBox(
            layout={
                "grid_template_columns": _WIDTHS,
                "grid_gap": "2px 12px",
                "align_items": "center",
                "width": "100%",
            }
        )
        self._status = ipw.Label()
        style = ipw.HTML(f"<style>{self._snapshot.style}</style>", layout={"display": "none"})
        pull = self._button(
            "Pull", "Have the server download this model", self._pull, icon="download"
        )
        refresh = self._button("Refresh", "List the models again", self._refresh, icon="refresh")
        self._management = [self._name, pull]
        head = ipw.HBox([self._name, pull, refresh], layout={"width": "100%"})
        self._show_management()
        super().__init__([style, head, self._pulls, self._table, self._status])
        background.call(self._refresh)

    def __repr__(self) -> str:
        return "Models of the server"

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self._repr_mimebundle_(), raw=True)
        self._snapshot.display(self._markdown())

    def refresh(self) -> None:
        """List the models again."""
        background.call(self._refresh)

    def close(self) -> None:
        """Close the connection and remove the widget from the page; pulls continue."""
        background.call(self._connection.hang_up)
        super().close()

    def _button(
        self, text: str, tooltip: str, action: Callable[[], Any], **looks: Any
    ) -> ipw.Button:
        layout = {"width": "auto", "min_width": "5.5em"}
        button = ipw.Button(description=text, tooltip=tooltip, layout=layout, **looks)
        button.on_click(lambda _: background.call(action))
        return button

    # -- in the thread of the widgets

    def _refresh(self) -> None:
        background.start(self._do("", lambda: None))

    def _pull(self) -> None:
        name = self._name.value.strip()
        if name:
            pull = PullProgress(name, connection=self._connection, ended=self._refresh)
            self._pulls.children = (*self._pulls.children, pull)
            self._name.value = ""

    async def _do(self, doing: str, action: Callable[[], Any]) -> None:
        """Run a slow action and list the models again; show an error as the status."""
        self._status.value = doing
        try:
            with reported(self._connection):
                await asyncio.to_thread(action)
                self._models = await asyncio.to_thread(listed, self._connection)
                self._may_manage = await asyncio.to_thread(self._connection.client.may_manage)
            self._status.value = "" if self._models else "The server has no models yet."
        except OllamaMagicsError as error:
            self._status.value = f"Error: {error}"
        self._draw()
        self._snapshot.update(self._markdown())

    def _show_management(self) -> None:
        """Show the controls that change models to users with the right to."""
        for widget in self._management:
            widget.layout.display = None if self._may_manage else "none"

    def _draw(self) -> None:
        self._show_management()
        head = [ipw.HTML(_HEADING.format(column)) for column in (*COLUMNS, "")]
        rows = [cell for model in self._models for cell in self._row(model)]
        self._table.children = [*head, *rows] if self._models else []

    def _row(self, model: ModelRow) -> list[ipw.Widget]:
        cells = [ipw.Label(text, layout=_FLEXIBLE) for text in model.cells]
        return [*cells, self._actions(model)]

    def _actions(self, model: ModelRow) -> ipw.HBox:
        """Return the buttons of a model, or those that confirm its deletion."""
        connection, name = self._connection, model.name

        def button(text: str, tooltip: str, action: Callable[[], Any], **looks: Any) -> ipw.Button:
            return self._button(text, f"{tooltip} {name}", action, **looks)

        def run(doing: str, action: Callable[[], Any]) -> Callable[[], Any]:
            return lambda: background.start(self._do(f"{doing} {name}…", action))

        if self._doomed == name:
            delete = run("Deleting", lambda: connection.client.delete(name))
            return ipw.HBox(
                [
                    button("Delete", "Really delete", delete, button_style="danger"),
                    button("Keep", "Do not delete", lambda: self._ask("")),
                ]
            )
        if model.loaded:
            unload = run("Unloading", lambda: model.unload(connection.client))
            first = button("Unload", "Take from memory", unload)
        else:
            load = run("Loading", lambda: model.load(connection.client))
            first = button("Load", "Load", load)
        if not self._may_manage:
            return ipw.HBox([first])
        return ipw.HBox([first, button("Delete…", "Delete", lambda: self._ask(name))])

    def _ask(self, name: str) -> None:
        """Ask for the confirmation of a deletion."""
        self._doomed = name
        self._draw()

    def _markdown(self) -> str:
        if not self._models:
            return safe_markdown(self._status.value)
        lines = [COLUMNS, tuple("---" for _ in COLUMNS), *(model.cells for model in self._models)]
        return "\n".join(f"| {' | '.join(map(safe_markdown, line))} |" for line in lines)
