"""A call of the accessor: which server and model, what is asked, and the shape of the result."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from . import rows
from .connection import Connection
from .discovery import discover
from .failures import Interrupted, OllamaMagicsError, reported
from .row_tasks import NO_SCORE, Task, messages

if TYPE_CHECKING:
    import pandas as pd

_MARK = "\N{OBJECT REPLACEMENT CHARACTER}"

Errors = Literal["raise", "coerce", "column"]


class RowsInterrupted(Interrupted):
    """An interrupt that tells what it kept."""

    def __init__(self, work: rows.Work) -> None:
        super().__init__(
            f"{work.done} of {len(work.texts)} rows are done and kept; "
            "the same call goes on with the others."
        )

    def _render_traceback_(self) -> list[str]:
        return [f"\x1b[31mInterrupted:\x1b[0m {self}"]


@dataclass
class Server:
    """Where the calls go: to the server of the magics where they are loaded, with its models."""

    connection: Connection
    model: str = ""
    embed_model: str = ""

    @classmethod
    def find(cls) -> Server:
        """Return the server of this kernel or process."""
        ipython = sys.modules.get("IPython")
        shell = ipython.get_ipython() if ipython else None
        magics = shell.magics_manager.registry.get("OllamaMagics") if shell else None
        if magics is None:
            return cls(Connection(discover))
        return cls(magics._connection, magics.model, magics.embed_model)

    def choose(self, model: str | None, capability: str) -> str:
        """Return the model that is meant: given, set, or the only one there is."""
        known = self.embed_model if capability == "embedding" else self.model
        with reported(self.connection):
            return model or known or self.connection.choose(capability)

    def around(self, model: str, system: str) -> tuple[str, str]:
        """Return what a model reads before and after the text of a row."""
        body = {
            "model": model,
            "messages": messages(system, _MARK),
            "stream": False,
            "_debug_render_only": True,
        }
        with reported(self.connection, model):
            answer = self.connection.client.call("POST", "/api/chat", body)
        prompt = (answer.get("_debug_info") or {}).get("rendered_template") or ""
        before, found, after = prompt.partition(_MARK)
        if not found:
            raise OllamaMagicsError(NO_SCORE)
        return before, after


@dataclass
class Plan:
    """What a call will do. ``shape`` makes the result of an answer or None for each row."""

    connection: Connection
    model: str
    task: Task
    texts: list[str | None]
    index: pd.Index
    shape: Callable[[list[Any]], Any]
    errors: Errors = "raise"

    def __post_init__(self) -> None:
        if self.errors not in ("raise", "coerce", "column"):
            raise OllamaMagicsError('errors is "raise", "coerce" or "column".')

    def run(self) -> Any:
        """Ask, showing progress, and return the result."""
        work = self._begin()
        try:
            with reported(self.connection, self.model):
                rows.finish(work, self.connection.client)
        except Interrupted:
            raise RowsInterrupted(work) from None
        except rows.RowFailed as error:
            raise self._of_row(error) from None
        return self._result(work)

    async def run_async(self) -> Any:
        """Ask and return the result."""
        work = await asyncio.to_thread(self._begin)
        try:
            with reported(self.connection, self.model):
                await work.finish(self.connection.client)
        except rows.RowFailed as error:
            raise self._of_row(error) from None
        return self._result(work)

    def _begin(self) -> rows.Work:
        with reported(self.connection, self.model):
            entry = self.connection.entry(self.model) or {}
            identity = f"{self.connection.endpoint.url} {entry.get('digest') or self.model}"
        texts = [text for text in self.texts if text is not None]
        return rows.Work(self.task, identity, texts, strict=self.errors == "raise")

    def _result(self, work: rows.Work) -> Any:
        from . import columns

        result = self.shape([None if t is None else work.answers.get(t) for t in self.texts])
        if self.errors != "column":
            return result
        failures: Sequence[str | None] = [
            None if text is None else work.failures.get(text) for text in self.texts
        ]
        return columns.with_errors(result, failures)

    def _of_row(self, error: rows.RowFailed) -> OllamaMagicsError:
        label = self.index[self.texts.index(error.text)]
        return OllamaMagicsError(f'row {label}: {error}. (errors="coerce" or "column" goes on.)')
