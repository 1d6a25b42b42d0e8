"""Ask a server about many rows: each distinct one once, several at a time, none lost."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .dispatch import Dispatcher
from .errors import OllamaResponseError

if TYPE_CHECKING:
    from .client import Client
    from .disk_cache import DiskCache
    from .row_tasks import Task

OF_A_ROW = {400, 413, 422, 500}
"""Statuses that may be a row's own fault. Others would meet every row."""

KEPT_CALLS = 8
TICK = 0.1
PROGRESS_AFTER = 2.0

_unfinished: dict[str, dict[str, Any]] = {}
"""Raw answers of calls that were interrupted or failed, until the same call is finished."""


class RowFailed(Exception):
    """The server or its answer is at odds with ``text``."""

    def __init__(self, text: str, message: str) -> None:
        super().__init__(message)
        self.text = text


class Work:
    """The distinct rows of a call, and what has come of them.

    ``model`` is what tells one model from another, its digest. ``strict`` ends with the first row
    that fails. ``cache`` is the file where answers are looked for and kept.
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
        self.strict = strict
        self.texts = list(dict.fromkeys(texts))
        self.failures: dict[str, str] = {}
        self._key = json.dumps([model, task.identity()], default=repr)
        self._cache = cache
        self.answers: dict[str, Any] = {}
        self._raw: dict[str, Any] = {}
        kept = _unfinished.pop(self._key, {})
        self._recall({text: kept.pop(text) for text in self.texts if text in kept})
        if kept:  # of rows that this call does not have
            _unfinished[self._key] = kept
        self._started = threading.Event()

    @property
    def done(self) -> int:
        """How many rows have been answered."""
        return len(self.answers) + len(self.failures)

    async def finish(self, clients: Sequence[Client]) -> None:
        """Ask about what has no answer. Raises OllamaClientError or RowFailed."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._started.set()
        with self._kept_until_finished(), self._opened_cache() as cache:
            if cache:
                self._recall(cache.known(self._missing()))
            batches = iter(self.task.batches(self._missing()))
            async with Dispatcher(clients) as http, asyncio.TaskGroup() as group:
                for _ in range(self.task.in_flight * len(clients)):
                    group.create_task(self._work(http, cache, batches))

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
            _unfinished[self._key] = _unfinished.get(self._key, {}) | self._raw
            while len(_unfinished) > KEPT_CALLS:
                _unfinished.pop(next(iter(_unfinished)), None)  # threads share it
            if isinstance(error, BaseExceptionGroup):
                raise error.exceptions[0] from None
            raise

    def _opened_cache(self) -> AbstractContextManager[DiskCache | None]:
        if self._cache is None:
            return nullcontext()
        from .disk_cache import DiskCache

        return DiskCache(self._cache, self._key)

    def _missing(self) -> list[str]:
        return [text for text in self.texts if text not in self.answers]

    def _recall(self, raw: Mapping[str, Any]) -> None:
        for text, answer in raw.items():
            with suppress(ValueError):  # it is asked about again
                self._take({text: answer})

    def _take(self, raw: Mapping[str, Any]) -> None:
        self.answers |= {text: self.task.read(answer) for text, answer in raw.items()}
        self._raw |= raw

    async def _work(
        self, http: Dispatcher, cache: DiskCache | None, batches: Iterator[list[str]]
    ) -> None:
        for batch in batches:
            await self._ask(http, cache, batch)

    async def _ask(self, http: Dispatcher, cache: DiskCache | None, batch: list[str]) -> None:
        try:
            raw = dict(zip(batch, await self.task.ask(http, batch), strict=True))
            self._take(raw)
        except (OllamaResponseError, ValueError) as error:
            if isinstance(error, OllamaResponseError) and error.status not in OF_A_ROW:
                raise
            if len(batch) == 1:
                self._fail(batch[0], str(error))
                return
            # One row must not take the others with it: find it.
            middle = len(batch) // 2
            await self._ask(http, cache, batch[:middle])
            await self._ask(http, cache, batch[middle:])
        else:
            if cache:
                cache.add(raw)

    def _fail(self, text: str, message: str) -> None:
        if self.strict:
            raise RowFailed(text, message)
        self.failures[text] = message


def finish(work: Work, clients: Sequence[Client], progress: bool = True) -> None:
    """Finish the work in a thread, since the loop of a kernel's own thread runs already.

    An interrupt stops it and is raised.
    """
    with ThreadPoolExecutor(1) as pool, closing(_Progress(work)) as bar:
        future = pool.submit(asyncio.run, work.finish(clients))
        try:
            while not wait([future], timeout=TICK).done:
                if progress:
                    bar.show()
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
