"""A job: a call of ``.ollama`` that the server answers, whether this kernel lives or not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pandas as pd
from jupyter_ollama_client.batches import BatchClient
from jupyter_ollama_client.errors import OllamaResponseError

from ..failures import Interrupted, OllamaMagicsError
from ..operators.media import without_score
from ..reporting import reported
from ..rows import columns
from ..rows.jobs import PROGRESS_AFTER
from ..rows.plan import Plan
from ..rows.progress import RowProgress
from ..servers import Servers
from . import display
from .question import Question
from .recording import answers_by_id, values_of

ENDS = ("completed", "failed", "expired", "cancelled")

FIRST_POLL, LONGEST_POLL = 0.1, 2.0
"""Seconds between two looks at a job that is waited for; they grow by half."""


class JobWaitInterrupted(Interrupted):
    """An interrupt that says that the job goes on."""

    def _render_traceback_(self) -> list[str]:
        return [f"\x1b[31mInterrupted:\x1b[0m {self}"]


class Job:
    """A call that was submitted, at the server that answers it.

    ``submit`` and ``load`` make jobs.

    Parameters
    ----------
    batch : dict
        The record of the batch.
    servers : Servers
        The server.
    question : Question
        The call and its rows.
    plan : Plan, optional
        The call, where it was made in this kernel: its answers can then have the types of its
        schema, and its data.
    """

    def __init__(
        self,
        batch: dict[str, Any],
        servers: Servers,
        question: Question,
        plan: Plan | None = None,
    ) -> None:
        self._batch = batch
        self._servers = servers
        self._question = question
        self._plan = plan

    @classmethod
    def load(cls, id: str, *, at: str | None = None) -> Job:
        """Return a job that another kernel has submitted.

        Parameters
        ----------
        id : str
            The id of the job; ``%ollama jobs`` lists them.
        at : str, optional
            The address of the server; by default the one of the magics.

        Returns
        -------
        Job
            The job, with its present status.

        Raises
        ------
        OllamaMagicsError
            If the server has no such job, or it was not made by ``submit``.

        Examples
        --------
        >>> job = pd.Series(["Paris"]).ollama.submit("Where is {text}?", "smollm2")
        >>> Job.load(job.id).wait().frame().columns.tolist()
        ['answer', 'error']
        """
        servers = Servers.find() if at is None else Servers.at((at,))
        with _asking(servers) as client:
            batch = client.retrieve(id)
            with closing(client.lines(batch["input_file_id"])) as lines:
                question = Question.of_line(next(lines))
        return cls(batch, servers, question)

    @property
    def id(self) -> str:
        """The id of the job, for `load`."""
        return str(self._batch["id"])

    @property
    def status(self) -> str:
        """The present status: "validating", "in_progress", "completed", "cancelled" and others."""
        return str(self.refresh()._batch["status"])

    @property
    def counts(self) -> tuple[int, int, int]:
        """The numbers of requests that are answered, that failed, and of all, when last seen."""
        counts = self._batch["request_counts"]
        total = counts["total"] or sum(self._question.sizes)
        return counts["completed"], counts["failed"], total

    def refresh(self) -> Job:
        """Get the present state from the server. Raises OllamaMagicsError."""
        if self._batch["status"] not in ENDS:
            with _asking(self._servers) as client:
                self._batch = client.retrieve(self.id)
        return self

    def wait(self, timeout: float | None = None) -> Job:
        """Wait for the end of the job, with a progress bar. An interrupt leaves the job running.

        Parameters
        ----------
        timeout : float, optional
            The longest time to wait, in seconds.

        Returns
        -------
        Job
            This job, which has ended or goes on after the timeout.

        Raises
        ------
        OllamaMagicsError
            If the server cannot be reached.

        Examples
        --------
        >>> job = pd.Series(["A cat sleeps"]).ollama.submit("embed", model="all-minilm")
        >>> job.wait().status
        'completed'
        """
        end = None if timeout is None else time.monotonic() + timeout
        pause = FIRST_POLL
        bar = RowProgress(lambda: sum(self.counts[:2]), self.counts[2], self._line)
        try:
            with bar:
                while self.refresh()._batch["status"] not in ENDS:
                    if time.monotonic() - bar.started >= PROGRESS_AFTER:
                        bar.show()
                    left = pause if end is None else min(pause, end - time.monotonic())
                    if left <= 0:
                        break
                    time.sleep(left)
                    pause = min(1.5 * pause, LONGEST_POLL)
        except KeyboardInterrupt:
            raise JobWaitInterrupted(
                f'the job goes on at the server. Job.load("{self.id}") finds it again.'
            ) from None
        return self

    def cancel(self) -> Job:
        """Cancel the job; answers that have arrived are kept. Raises OllamaMagicsError."""
        if self.refresh()._batch["status"] not in ENDS:
            with _asking(self._servers) as client:
                self._batch = client.cancel(self.id)
        return self

    def delete(self) -> None:
        """Remove the files of a job that has ended from the server. Raises OllamaMagicsError."""
        self._require_end()
        for name in ("input_file_id", "output_file_id", "error_file_id"):
            if file_id := self._batch.get(name):
                with _asking(self._servers) as client:
                    client.remove_file(file_id)

    def frame(self, data: pd.Series | pd.DataFrame | None = None) -> pd.DataFrame:
        """Return the answers with the index of the rows.

        Parameters
        ----------
        data : Series or DataFrame, optional
            The rows that were submitted; the answers are added to them. They must have the same
            index.

        Returns
        -------
        DataFrame
            The columns that the method gives: "answer" and "error", or those of ``into`` and of the
            schema. Rows without an answer, as of a cancelled job, have an error.

        Raises
        ------
        OllamaMagicsError
            If the job has not ended, it failed before its first row, the index of ``data`` differs,
            or a row failed and the job was submitted with ``errors="raise"``.

        Examples
        --------
        >>> reviews = pd.DataFrame({"text": ["Great", None]}, index=["a", "b"])
        >>> job = reviews.ollama.submit("Is it praise? {text}", "smollm2", into="praise")
        >>> job.wait().frame(reviews).columns.tolist()
        ['text', 'praise', 'praise_error']
        """
        self._require_end()
        rows: Any = self._question.rows()
        if data is not None:
            if not data.index.equals(rows.index):
                raise OllamaMagicsError(
                    f"data has {len(data)} rows with another index than the {len(rows)} rows of "
                    "the job."
                )
            rows = columns.named_frame(data)
        result = self._result(rows)
        has_rows = set(rows.columns) <= set(result.columns)
        return result if has_rows else pd.concat([rows, result], axis=1)

    def _result(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the columns of the answers for the rows."""
        question = self._question
        plan = self._plan or question.plan()
        values, failures = self._values(plan)
        if failures and plan.errors == "raise":
            place = min(failures)
            label = rows.index[question.places.index(place)]
            raise OllamaMagicsError(f"row {label}: {failures[place]}")
        texts = [None if place < 0 else str(place) for place in question.places]
        played = replace(plan, data=rows, texts=texts)
        result = played.columns(
            {str(place): value for place, value in values.items()},
            {str(place): message for place, message in failures.items()},
        )
        return result.to_frame("answer") if isinstance(result, pd.Series) else result

    def _values(self, plan: Plan) -> tuple[dict[int, Any], dict[int, str]]:
        """Return the values and the failures of the distinct texts, by their numbers."""
        found = answers_by_id(self._lines())
        sizes = self._question.sizes
        numbers: dict[int, list[str]] = {}
        for custom_id in found:
            numbers.setdefault(int(custom_id.partition(".")[0]), []).append(custom_id)

        def answers(number: int) -> list[dict[str, Any]]:
            ids = sorted(numbers.get(number, ()), key=lambda one: int(one.partition(".")[2]))
            made = []
            for custom_id in ids:
                answer = found[custom_id]
                if isinstance(answer, str):
                    raise ValueError(answer)
                made.append(answer)
            if not made:
                raise ValueError("not answered")
            return made

        asked = without_score(self._servers) if self._question.with_files else self._servers
        # The plan of this kernel may read files again; the answers are those to its chat.
        operator = self._question.plan().operator if self._question.with_files else plan.operator
        with closing(self._servers), reported(self._servers.connections[0], self._question.model):
            task = operator.task(asked, self._question.model)
        return values_of(task, sizes, answers)

    def _lines(self) -> list[dict[str, Any]]:
        files = [self._batch.get(name) for name in ("output_file_id", "error_file_id")]
        with _asking(self._servers) as client:
            return [line for file_id in files if file_id for line in client.lines(file_id)]

    def _require_end(self) -> None:
        status = self.refresh()._batch["status"]
        if status not in ENDS:
            raise OllamaMagicsError(f"The job is {status}: wait() waits for its end.")
        errors = (self._batch.get("errors") or {}).get("data") or []
        if errors and not self._batch.get("output_file_id"):
            raise OllamaMagicsError(f"The job failed: {errors[0]['message']}")

    def _line(self) -> str:
        return display.line(self._batch, self._question.operator, self._question.model, self.counts)

    def __repr__(self) -> str:
        return self._line()

    def _repr_html_(self) -> str:
        return display.html_of(
            self._batch, self._question.operator, self._question.model, self.counts
        )


@contextmanager
def _asking(servers: Servers) -> Iterator[BatchClient]:
    """Yield a client of the server, and report its errors."""
    connection = servers.connections[0]
    with closing(servers), reported(connection, suggests_pull=False):
        try:
            yield BatchClient(connection.client)
        except OllamaResponseError as error:
            if error.status != 404:
                raise
            raise OllamaMagicsError(f"{error}. %ollama jobs lists your jobs.") from error
