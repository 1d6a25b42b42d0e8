"""The progress of a pull, with a bar for each layer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import ipywidgets as ipw
from jupyter_ollama_client.async_client import AsyncClient

from .. import background
from ..connection import Connection
from ..failures import OllamaMagicsError
from ..markdown import code_block
from ..progress import StepLines, amount, share
from ..redraw_throttle import RedrawThrottle
from ..reporting import reported
from .server import own_connection
from .snapshot import Snapshot


class PullProgress(ipw.VBox):
    """The download of a model by the server, with a bar for each layer. It starts at once.

    Parameters
    ----------
    model : str
        Name of the model.
    insecure : bool, optional
        Let the server use a registry by plain HTTP.
    connection : Connection, optional
        Shared with another widget.
    ended : callable, optional
        Called at the end, in the thread of the widgets.

    Attributes
    ----------
    state : {"pulling", "done", "cancelled", "failed"}

    Examples
    --------
    >>> from jupyter_ollama_magics.widgets import PullProgress
    >>> pull = PullProgress("127.0.0.1:9/library/missing", insecure=True)
    >>> pull.close()
    """

    children: tuple[ipw.Widget, ...]
    _task: asyncio.Task[None] | None = None

    def __init__(
        self,
        model: str,
        *,
        insecure: bool = False,
        connection: Connection | None = None,
        ended: Callable[[], Any] = lambda: None,
    ) -> None:
        self.model = model
        self.state = "pulling"
        self._insecure = insecure
        self._connection = connection or own_connection()
        self._owns_connection = connection is None
        self._ended = ended
        self._lines = StepLines()
        self._bars: dict[str, tuple[ipw.FloatProgress, ipw.Label]] = {}
        self._snapshot = Snapshot()
        self._title = ipw.Label(f"Pulling {model}…")
        self._cancel = ipw.Button(description="Cancel", tooltip=f"Stop pulling {model}")
        self._cancel.on_click(lambda _: self.cancel())
        style = ipw.HTML(f"<style>{self._snapshot.style}</style>", layout={"display": "none"})
        head = ipw.HBox([self._title, self._cancel], layout={"align_items": "center"})
        super().__init__([style, head])
        background.call(self._begin)

    def __repr__(self) -> str:
        return f"Pull of {self.model}: {self.state}"

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self._repr_mimebundle_(), raw=True)
        self._snapshot.display(self._markdown())

    def cancel(self) -> None:
        """Cancel the pull; the server keeps its partial download for the next pull."""
        background.call(self._stop)

    def close(self) -> None:
        """Cancel the pull and remove the widget from the page."""
        background.call(self._stop)
        super().close()

    # -- in the thread of the widgets

    def _begin(self) -> None:
        self._task = background.start(self._pull())

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _pull(self) -> None:
        try:
            with reported(self._connection):
                await self._stream()
            self._end("done", f"Pulled {self.model}.")
        except asyncio.CancelledError:
            self._end("cancelled", f"Cancelled. Pulling {self.model} again continues from here.")
        except OllamaMagicsError as error:
            self._end("failed", f"Pulling {self.model} failed: {error}")

    async def _stream(self) -> None:
        client = await asyncio.to_thread(lambda: self._connection.client)
        body = {"model": self.model, "insecure": self._insecure or None}
        throttle = RedrawThrottle()
        async with AsyncClient(client) as server:
            async for step in server.stream("/api/pull", body):
                if self._lines.add(step) or throttle.due():
                    self._draw()

    def _end(self, state: str, title: str) -> None:
        self._task = None
        if self._owns_connection:
            self._connection.hang_up()
        self.state = state
        self._draw()
        self._title.value = title
        self._cancel.layout.display = "none"
        self._snapshot.update(self._markdown())
        self._ended()

    def _draw(self) -> None:
        """Update the bars, and the title with the last step without a bar."""
        for status, step in self._lines.steps.items():
            if "total" not in step:
                self._title.value = f"Pulling {self.model}: {status}"
                continue
            if status not in self._bars:
                self._add_bar(status)
            bar, label = self._bars[status]
            done, total = step.get("completed", 0), step["total"]
            bar.value, label.value = share(done, total), amount(done, total)

    def _add_bar(self, status: str) -> None:
        bar, label = ipw.FloatProgress(max=1.0), ipw.Label()
        name = ipw.Label(status, layout={"width": "14em"})
        self._bars[status] = bar, label
        self.children = (*self.children, ipw.HBox([name, bar, label]))

    def _markdown(self) -> str:
        lines = "\n".join(filter(None, [str(self._lines), self._title.value]))
        return code_block(lines, "text")
