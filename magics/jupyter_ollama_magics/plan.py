"""A call of the accessor: what is asked about which rows, and where the answers go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from . import columns, rows
from .failures import Interrupted, OllamaMagicsError, reported
from .servers import Servers

if TYPE_CHECKING:
    from .client import Client
    from .questions import Question

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


@dataclass(frozen=True)
class Plan:
    """A call that has not begun. No server is asked before it runs.

    ``texts`` has what is sent for each row of ``data``, None where a value is missing. ``into``
    names the column of the answers beside the data; without it they are the result.
    """

    question: Question
    data: pd.Series | pd.DataFrame
    texts: list[str | None]
    servers: Callable[[], Servers]
    model: str | None = None
    errors: Errors = "raise"
    into: str | None = None
    cache: Path | None = None

    def __post_init__(self) -> None:
        if self.errors not in ("raise", "coerce", "column"):
            raise OllamaMagicsError('errors is "raise", "coerce" or "column".')

    def run(self, progress: bool = True) -> Any:
        """Ask, with a bar of progress if that takes long, and return the result."""
        if not any(text is not None for text in self.texts):
            return self._result({}, {})
        asked = self._begin()
        try:
            with asked.reported():
                rows.finish(asked.work, asked.clients, progress)
        except Interrupted:
            raise RowsInterrupted(asked.work) from None
        except rows.RowFailed as error:
            raise self._of_row(error) from None
        return self._result(asked.work.answers, asked.work.failures)

    async def run_async(self) -> Any:
        """Ask and return the result."""
        if not any(text is not None for text in self.texts):
            return self._result({}, {})
        asked = await asyncio.to_thread(self._begin)
        try:
            with asked.reported():
                await asked.work.finish(asked.clients)
        except rows.RowFailed as error:
            raise self._of_row(error) from None
        return self._result(asked.work.answers, asked.work.failures)

    def empty(self) -> Any:
        """Return the result of no rows."""
        return replace(self, data=self.data.iloc[:0], texts=[]).run()

    def _begin(self) -> _Asked:
        servers = self.servers()
        model = servers.choose(self.model, self.question.capability)
        task = self.question.task(servers, model)
        with reported(servers.connections[0], model):
            clients, identity = servers.having(model)
        texts = [text for text in self.texts if text is not None]
        strict = self.errors == "raise"
        work = rows.Work(task, identity, texts, strict=strict, cache=self.cache)
        return _Asked(work, clients, servers)

    def _result(self, answers: dict[str, Any], failures: dict[str, str]) -> Any:
        name = self.data.name if isinstance(self.data, pd.Series) else None
        values = [None if text is None else answers.get(text) for text in self.texts]
        result = self.question.columns(values, self.data.index, name)
        told: Sequence[str | None] | None = None
        if self.errors == "column":
            told = [None if text is None else failures.get(text) for text in self.texts]
        if self.into is not None:
            return columns.beside(self.data, result, told, self.into)
        return result if told is None else columns.with_errors(result, told)

    def _of_row(self, error: rows.RowFailed) -> OllamaMagicsError:
        label = self.data.index[self.texts.index(error.text)]
        return OllamaMagicsError(f'row {label}: {error}. (errors="coerce" or "column" goes on.)')


@dataclass(frozen=True)
class _Asked:
    work: rows.Work
    clients: list[Client]
    servers: Servers

    def reported(self) -> AbstractContextManager[None]:
        """Have errors told as those of the servers and the model."""
        return reported(self.servers.connections[0], self.work.task.model)
