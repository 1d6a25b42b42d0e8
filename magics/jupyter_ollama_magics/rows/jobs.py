"""Send many rows to servers: each distinct row once, several at a time, none lost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jupyter_ollama_client.errors import OllamaResponseError

from ..interruptible import run_in_thread
from ..names import typed
from .dispatch import Dispatcher
from .progress import RowProgress
from .report import RowReport
from .tally import Tally

if TYPE_CHECKING:
    from jupyter_ollama_client.client import Client

    from .disk_cache import DiskCache
    from .tasks import Task

ROW_STATUSES = {400, 413, 422, 500}
"""Statuses that one row may cause. Others would fail every row."""

MAX_UNFINISHED = 8
PROGRESS_AFTER = 2.0

_unfinished: dict[str, dict[str, Any]] = {}
"""Raw answers of interrupted and failed calls, by call, until the same call finishes."""


class RowFailed(Exception):
    """The server rejected ``text``, or its answer is invalid."""

    def __init__(self, text: str, message: str) -> None:
        super().__init__(message)
        self.text = text


class Job(Protocol):
    """The distinct rows of a call, as one model or several answer them."""

    texts: list[str]

    @property
    def done(self) -> int:
        """The number of rows with an answer or a failure."""

    @property
    def failures(self) -> dict[str, str]:
        """The message of each row that failed."""

    @property
    def answers(self) -> dict[str, Any]:
        """The value of each row that has one."""

    async def run(self, clients: Sequence[Client]) -> None:
        """Send the rows without an answer. Raises OllamaClientError or RowFailed."""

    def report(self, operator: str, texts: Sequence[str | None]) -> RowReport:
        """Return what the run did for the texts of all rows, and its cost."""


class RowJob:
    """The distinct rows of a call, with their answers and failures.

    ``model`` identifies the model, by its digest. ``strict`` stops at the first row that fails.
    ``cache`` is a file of answers that is read and extended.
    """

    def __init__(
        self,
        task: Task,
        model: str,
        texts: Iterable[str],
        *,
        strict: bool,
        cache: Path | None = None,
    ) -> None:
        self.task = task
        self.model = model
        self.strict = strict
        self.texts = list(dict.fromkeys(texts))
        self.failures: dict[str, str] = {}
        self._key = json.dumps([model, task.identity()], default=repr)
        self._cache = cache
        self.answers: dict[str, Any] = {}
        self._raw: dict[str, Any] = {}
        kept = _unfinished.pop(self._key, {})
        self._restore({text: kept.pop(text) for text in self.texts if text in kept})
        if kept:  # rows that this call does not have
            _unfinished[self._key] = kept
        self.resumed = len(self.answers)
        self.cached = 0
        self.tally = Tally()
        self.seconds = 0.0

    @property
    def done(self) -> int:
        """The number of rows with an answer or a failure."""
        return len(self.answers) + len(self.failures)

    def missing(self) -> list[str]:
        """Return the rows without an answer."""
        return [text for text in self.texts if text not in self.answers]

    async def run(
        self, clients: Sequence[Client], only: Callable[[], Iterable[str]] | None = None
    ) -> None:
        """Send the rows without an answer, or those of ``only``.

        ``only`` is called when the answers of the cache are known. Raises OllamaClientError or
        RowFailed. Cancelling it closes its connections, which stops the server, too.
        """
        with self._timed(), self._keep_unfinished(), self._open_cache() as cache:
            if cache:
                known = len(self.answers)
                self._restore(cache.known(self.missing()))
                self.cached += len(self.answers) - known
            asked = self.texts if only is None else only()
            done = self.answers.keys() | self.failures.keys()
            batches = iter(self.task.batches([text for text in asked if text not in done]))
            async with Dispatcher(clients, self.tally) as http, asyncio.TaskGroup() as group:
                for _ in range(self.task.in_flight * len(clients)):
                    group.create_task(self._send_batches(http, cache, batches))

    def keep(self) -> None:
        """Keep the answers for the next call with the same rows."""
        _unfinished[self._key] = _unfinished.get(self._key, {}) | self._raw
        while len(_unfinished) > MAX_UNFINISHED:
            _unfinished.pop(next(iter(_unfinished)), None)  # threads share it

    def report(self, operator: str, texts: Sequence[str | None]) -> RowReport:
        """Return what the run did for the texts of all rows, and its cost."""
        return RowReport(
            operator,
            self.task.model,
            self.model,
            rows=len(texts),
            missing=texts.count(None),
            distinct=len(self.texts),
            cached=self.cached,
            resumed=self.resumed,
            calls=self.tally.calls,
            prompt_tokens=self.tally.prompt_tokens,
            answer_tokens=self.tally.answer_tokens,
            seconds=round(self.seconds, 3),
            failures=sum(text in self.failures for text in texts) if self.failures else 0,
        )

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began

    @contextmanager
    def _keep_unfinished(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.keep()
            if isinstance(error, BaseExceptionGroup):
                raise error.exceptions[0] from None
            raise

    def _open_cache(self) -> AbstractContextManager[DiskCache | None]:
        if self._cache is None:
            return nullcontext()
        from .disk_cache import DiskCache

        return DiskCache(self._cache, self._key)

    def _restore(self, raw: Mapping[str, Any]) -> None:
        for text, answer in raw.items():
            with suppress(ValueError):  # the row is sent again
                self._add({text: answer})

    def _add(self, raw: Mapping[str, Any]) -> None:
        self.answers |= {text: self.task.parse(answer) for text, answer in raw.items()}
        self._raw |= raw

    async def _send_batches(
        self, http: Dispatcher, cache: DiskCache | None, batches: Iterator[list[str]]
    ) -> None:
        for batch in batches:
            await self._send(http, cache, batch)

    async def _send(self, http: Dispatcher, cache: DiskCache | None, batch: list[str]) -> None:
        try:
            raw = dict(zip(batch, await self.task.send(http, batch), strict=True))
            self._add(raw)
        except (OllamaResponseError, ValueError) as error:
            if isinstance(error, OllamaResponseError) and error.status not in ROW_STATUSES:
                raise
            if len(batch) == 1:
                self._fail(batch[0], str(error))
                return
            # Bisect, so that one invalid row does not fail the others.
            middle = len(batch) // 2
            await self._send(http, cache, batch[:middle])
            await self._send(http, cache, batch[middle:])
        else:
            if cache:
                cache.add(raw)

    def _fail(self, text: str, message: str) -> None:
        message = typed(message)
        if self.strict:
            raise RowFailed(text, message)
        self.failures[text] = message


def run(
    job: Job,
    clients: Sequence[Client],
    progress: bool = True,
    summary: Callable[[], str] = str,
) -> None:
    """Run a job, which an interrupt cancels.

    If a progress bar was shown, the ``summary`` replaces it.
    """
    with RowProgress(lambda: job.done, len(job.texts), summary) as bar:

        def watch() -> None:
            if progress and time.monotonic() - bar.started >= PROGRESS_AFTER:
                bar.show()

        run_in_thread(job.run(clients), watch)
