"""A call of the accessor: an operator, its rows, and the place of the result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..failures import Interrupted, OllamaMagicsError
from ..reporting import reported
from ..servers import Servers
from . import cascade, columns
from . import jobs as rows
from . import report as row_report
from .confidence import Confident
from .estimate import FirstRows, RowEstimate
from .registry import Errors, RowOperator

if TYPE_CHECKING:
    from jupyter_ollama_client.client import Client


class RowsInterrupted(Interrupted):
    """An interrupt that says how many rows are done."""

    def __init__(self, job: rows.Job) -> None:
        super().__init__(
            f"{job.done} of {len(job.texts)} rows are done and kept; "
            "the same call continues with the others."
        )

    def _render_traceback_(self) -> list[str]:
        return [f"\x1b[31mInterrupted:\x1b[0m {self}"]


@dataclass(frozen=True)
class Plan:
    """A checked call that has not started: it sends no request before it runs.

    ``texts`` holds the text that is sent for each row of ``data``, None where a value is missing.
    ``into`` names the column of the answers in the data; without it the answers are the result.
    Two models are a cascade, whose result agrees with the second in the share ``agree`` of rows.
    ``name`` is the name of the operator.
    """

    operator: RowOperator
    data: pd.Series | pd.DataFrame
    texts: list[str | None]
    servers: Callable[[], Servers] = field(repr=False)
    model: str | Sequence[str] | None = None
    errors: Errors = "raise"
    into: str | None = None
    cache: Path | None = None
    agree: float | None = None
    name: str = "rows"

    def __post_init__(self) -> None:
        if self.errors not in ("raise", "coerce", "column"):
            raise OllamaMagicsError('errors is "raise", "coerce" or "column".')
        cascade.check(self.model, self.agree, self.operator.capability)
        if not isinstance(self.into, str | None) or self.into == "":
            raise OllamaMagicsError(f"into is the name of a column, not {self.into!r}.")

    def run(self, progress: bool = True) -> Any:
        """Send the rows and return the result; calls over 2 seconds show a progress bar."""
        if not any(text is not None for text in self.texts):
            return self._result(None)
        run = self._prepare()
        try:
            with run.reported():
                rows.run(run.job, run.clients, progress, lambda: str(self._report(run.job)))
        except Interrupted:
            raise RowsInterrupted(run.job) from None
        except rows.RowFailed as error:
            raise self._row_error(error) from None
        return self._result(run.job)

    async def run_async(self) -> Any:
        """Send the rows and return the result."""
        if not any(text is not None for text in self.texts):
            return self._result(None)
        run = await asyncio.to_thread(self._prepare)
        try:
            with run.reported():
                await run.job.run(run.clients)
        except rows.RowFailed as error:
            raise self._row_error(error) from None
        return self._result(run.job)

    def estimate(self, progress: bool = True) -> RowEstimate:
        """Send the first rows, keep their answers, and return what the others will cost."""
        if not isinstance(self.model, str | None):
            raise OllamaMagicsError("estimate takes one model: ask for each of the two.")
        count = len(self.texts)
        if not any(text is not None for text in self.texts):
            return RowEstimate(self.name, self.model or "", count, count, 0)
        run = self._prepare()
        assert isinstance(run.job, rows.RowJob)
        first = FirstRows(run.job)
        try:
            with run.reported():
                rows.run(first, run.clients, progress)
        except Interrupted:
            raise RowsInterrupted(first) from None
        except rows.RowFailed as error:
            raise self._row_error(error) from None
        run.job.keep()
        return first.estimate(self.name, self.texts)

    def empty(self) -> Any:
        """Return the result of no rows."""
        return replace(self, data=self.data.iloc[:0], texts=[]).run()

    def _prepare(self) -> _Run:
        # The rows are sent over other connections.
        with closing(self.servers()) as servers:
            if isinstance(self.model, str | None):
                operator, model = self.operator, self.model
                if operator.decide is not None:
                    operator, model = operator.decide(servers, model)
                model = servers.choose(model, operator.capability)
                job, clients = self._job(servers, operator, model)
                return _Run(job, clients, servers, model)
            if self.operator.decide is not None:
                raise OllamaMagicsError("A cascade needs one kind of model: leave by= out.")
            first, second = self.model
            small, small_clients = self._job(servers, self.operator, first, sure=True)
            large, clients = self._job(servers, self.operator, second)
        wanted = cascade.AGREE if self.agree is None else self.agree
        job_of_both = cascade.CascadeJob(small, large, small_clients, wanted, self.operator.verdict)
        return _Run(job_of_both, clients, servers, second)

    def _job(
        self, servers: Servers, operator: RowOperator, model: str, sure: bool = False
    ) -> tuple[rows.RowJob, list[Client]]:
        """Return the job of a model, with ``sure`` one whose values have probabilities."""
        with reported(servers.connections[0], model):
            clients, identity = servers.having(model, operator.capability)
        task = operator.task(servers, model)
        texts = [text for text in self.texts if text is not None]
        strict = self.errors == "raise" and not sure
        asked = Confident(task) if sure else task
        return rows.RowJob(asked, identity, texts, strict=strict, cache=self.cache), clients

    def _report(self, job: rows.Job | None) -> row_report.RowReport:
        if job is not None:
            return job.report(self.name, self.texts)
        model = self.model if isinstance(self.model, str | None) else ", ".join(self.model)
        count = len(self.texts)
        return row_report.RowReport(self.name, model or "", "", count, count, 0)

    def _result(self, job: rows.Job | None) -> Any:
        result = self.columns(job.answers if job else {}, job.failures if job else {})
        report = self._report(job)
        row_report.remember(report)
        if isinstance(result, pd.Series | pd.DataFrame):
            result.attrs["ollama"] = report.as_dict()
        return result

    def columns(self, answers: dict[str, Any], failures: dict[str, str]) -> Any:
        """Return the result, from the values and the failures of the texts."""
        name = self.data.name if isinstance(self.data, pd.Series) else None
        values = [None if text is None else answers.get(text) for text in self.texts]
        result = self.operator.columns(values, self.data.index, name)
        errors: Sequence[str | None] | None = None
        if self.errors == "column":
            errors = [None if text is None else failures.get(text) for text in self.texts]
        if self.operator.keep is not None:
            return self._kept(values, result, errors)
        if self.into is not None:
            return columns.assign(self.data, result, errors, self.into)
        return result if errors is None else columns.with_errors(result, errors)

    def _kept(
        self,
        values: Sequence[Any],
        result: pd.Series | pd.DataFrame,
        errors: Sequence[str | None] | None,
    ) -> Any:
        """Return the rows of the data to keep; rows with an error are kept, too."""
        keep = self.operator.keep
        assert keep is not None
        shown = [value is not None and keep(value) for value in values]
        data: Any = self.data
        if self.into is not None:
            data = columns.assign(data, result, errors, self.into)
        elif errors is not None:
            data = columns.with_errors(columns.named_frame(data), errors)
        if errors is not None:
            shown = [one or error is not None for one, error in zip(shown, errors, strict=True)]
        return data[np.array(shown, dtype=bool)]

    def _row_error(self, error: rows.RowFailed) -> OllamaMagicsError:
        label = self.data.index[self.texts.index(error.text)]
        return OllamaMagicsError(f'row {label}: {error}. (errors="coerce" or "column" continues.)')


@dataclass(frozen=True)
class _Run:
    job: rows.Job
    clients: list[Client]
    servers: Servers
    model: str

    @contextmanager
    def reported(self) -> Iterator[None]:
        """Report client errors with the server and the model."""
        with (
            closing(self.servers),
            reported(self.servers.connections[0], self.model),
        ):
            yield
