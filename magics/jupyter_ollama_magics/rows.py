"""Ask a server about many rows: each distinct one once, several at a time, none lost."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from .async_client import AsyncClient
from .errors import OllamaResponseError

if TYPE_CHECKING:
    from .client import Client
    from .row_tasks import Task

OF_A_ROW = {400, 413, 422, 500}
"""Statuses that may be a row's own fault. Others would meet every row."""

KEPT_CALLS = 8
TICK = 0.1
PROGRESS_AFTER = 2.0

_unfinished: dict[str, dict[str, Any]] = {}
"""Answers of calls that were interrupted or failed, until the same call is finished."""


class RowFailed(Exception):
    """The server or its answer is at odds with ``text``."""

    def __init__(self, text: str, message: str) -> None:
        super().__init__(message)
        self.text = text


class Work:
    """The distinct rows of a call, and what has come of them.

    ``model`` is what tells one model from another, its digest. ``strict`` ends with the first row
    that fails.
    """

    def __init__(self, task: Task, model: str, texts: Iterable[str], *, strict: bool) -> None:
        self.task = task
        self.strict = strict
        self.texts = list(dict.fromkeys(texts))
        self.failures: dict[str, str] = {}
        self._key = json.dumps([model, task.identity()], default=repr)
        self.answers = _unfinished.pop(self._key, {})
        self._started = threading.Event()

    @property
    def done(self) -> int:
        """How many rows have been answered."""
        return sum(text in self.answers for text in self.texts) + len(self.failures)

    async def finish(self, client: Client) -> None:
        """Ask about what has no answer. Raises OllamaClientError or RowFailed."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._started.set()
        batches = iter(self.task.batches([t for t in self.texts if t not in self.answers]))
        with self._kept_until_finished():
            async with AsyncClient(client) as http, asyncio.TaskGroup() as group:
                for _ in range(self.task.in_flight):
                    group.create_task(self._ask(http, batches))

    def cancel(self) -> None:
        """Stop what runs in another thread: its connections close, so the server stops too."""
        self._started.wait()
        with suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._task.cancel)  # type: ignore[union-attr]

    @contextmanager
    def _kept_until_finished(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            _unfinished[self._key] = self.answers
            while len(_unfinished) > KEPT_CALLS:
                del _unfinished[next(iter(_unfinished))]
            if isinstance(error, BaseExceptionGroup):
                raise error.exceptions[0] from None
            raise

    async def _ask(self, http: AsyncClient, batches: Iterator[list[str]]) -> None:
        for batch in batches:
            try:
                answers = await self.task.ask(http, batch)
            except OllamaResponseError as error:
                if error.status not in OF_A_ROW:
                    raise
                self._fail(batch, error.message)
            except ValueError as error:
                self._fail(batch, str(error))
            else:
                self.answers.update(zip(batch, answers, strict=True))

    def _fail(self, batch: list[str], message: str) -> None:
        if self.strict:
            raise RowFailed(batch[0], message)
        self.failures |= dict.fromkeys(batch, message)


def finish(work: Work, client: Client) -> None:
    """Finish the work in a thread, since the loop of a kernel's own thread runs already.

    An interrupt stops it and is raised.
    """
    with ThreadPoolExecutor(1) as pool, closing(_Progress(work)) as progress:
        future = pool.submit(asyncio.run, work.finish(client))
        try:
            while not wait([future], timeout=TICK).done:
                progress.show()
        except KeyboardInterrupt:
            work.cancel()
            raise
        future.result()


class _Progress:
    """A bar of tqdm, if it is installed and the work takes long."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._before = work.done
        self._started = time.monotonic()
        self._bar: Any = None

    def show(self) -> None:
        """Show how far it is."""
        if time.monotonic() - self._started < PROGRESS_AFTER:
            return
        if self._bar is None:
            try:
                from tqdm.auto import tqdm  # type: ignore[import-untyped]
            except ImportError:
                return
            total = len(self._work.texts)
            settings = {"initial": self._before, "smoothing": 0, "leave": False}
            self._bar = tqdm(total=total, unit="row", **settings)
            # The seconds without a bar count, too.
            self._bar.start_t -= PROGRESS_AFTER
        self._bar.update(self._work.done - self._bar.n)

    def close(self) -> None:
        """Leave nothing of the bar."""
        if self._bar is not None:
            self._bar.close()
