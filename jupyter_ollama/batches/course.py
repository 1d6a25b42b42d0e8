"""The course of a batch, from its validation to the files with its answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from ..errors import OllamaError
from ..scheduler.admission import Admission
from .batch_run import DISK_SECONDS, BatchRun
from .folder import BatchFolder
from .input_lines import InputLines, LineError
from .records import BatchRecord, Status
from .results import ResultFiles
from .row_request import AnswerRow
from .row_slots import RowSlots
from .settings import Bounds
from .settlement import settle
from .store import BatchStore, enter

log = logging.getLogger(__name__)

T = TypeVar("T")


class LongWork(Protocol):
    """A thread for work in Python that takes long."""

    async def do(self, user: str, work: Callable[[], T]) -> T:
        """Return the result of ``work``."""


class Courses:
    """Brings batches to their ends, those of one user one after the other.

    Every step is in the record before the next one begins, so a later server can go on from it.
    """

    def __init__(
        self,
        folder: BatchFolder,
        store: BatchStore,
        bounds: Bounds,
        admission: Admission,
        long_work: LongWork,
        answer: AnswerRow,
    ) -> None:
        self._folder = folder
        self._store = store
        self._bounds = bounds
        self._admission = admission
        self._long_work = long_work
        self._answer = answer
        self._slots = RowSlots(min(bounds.batch_rows, max(1, bounds.max_queue // 2)))
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._runs: dict[str, BatchRun] = {}
        self.under_way: set[str] = set()
        """The ids of the batches that have not ended."""

    def pause_of(self, batch_id: str) -> str:
        """Return why a batch under way pauses, "" if it does not."""
        run = self._runs.get(batch_id)
        return run.pace.reason if run else ""

    def stop_sending(self, batch_id: str) -> None:
        """Cancel the rows of a batch under way; its record says what follows."""
        if sending := self._sending.get(batch_id):
            sending.cancel()

    async def run(self, batch: BatchRecord) -> None:
        """Bring a batch to its end, whatever its status. Cancelled, it leaves it for later."""
        if not batch.is_finished:
            self.under_way.add(batch.id)
            try:
                end, lines, errors = await self._send_all(batch)
                await self._finish(batch.id, end, lines, errors)
            finally:
                self.under_way.discard(batch.id)
        await settle(self._admission, self._store, batch)

    async def _send_all(
        self, batch: BatchRecord
    ) -> tuple[Status, InputLines | None, list[LineError]]:
        """Send the rows; return how the batch ended, its rows, and the faults of its input."""
        batch = await self._store.batch(batch.id) or batch
        end = Status(batch.end or Status.COMPLETED)
        errors: list[LineError] = []
        try:
            if batch.status in (Status.VALIDATING, Status.IN_PROGRESS):
                await self._until_sent(batch)
        except TimeoutError:
            end = Status.EXPIRED
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task and task.cancelling():  # the server stops
                raise
            end = Status.CANCELLED
        except Faulty as faulty:
            return Status.FAILED, None, faulty.errors
        except OllamaError as error:
            end, errors = Status.FAILED, [LineError("storage_limit", error.message)]
        except Exception:
            log.exception("%s failed", batch.id)
            message = "internal server error, check the server log for details"
            end, errors = Status.FAILED, [LineError("server_error", message)]
        try:
            return end, await self._read(batch), errors
        except Faulty as faulty:
            return end, None, errors or faulty.errors

    async def _until_sent(self, batch: BatchRecord) -> None:
        """Send the rows in a task of their own, which `stop_sending` cancels."""
        sending = self._sending[batch.id] = asyncio.create_task(self._send(batch))
        try:
            await sending
        finally:
            del self._sending[batch.id]
            self._runs.pop(batch.id, None)

    async def _send(self, batch: BatchRecord) -> None:
        """Check the input, wait for the user's earlier batches, and send the rows.

        Raises Faulty, TimeoutError or OllamaError.
        """
        async with asyncio.timeout(batch.expires_at - time.time()):
            if batch.status is Status.VALIDATING:
                lines = await self._read(batch)
                if lines.errors:
                    raise Faulty(lines.errors)
                await self._store.change(batch.id, partial(_begin, total=len(lines)))
                del lines
            async with self._turns[batch.user]:
                lines = await self._read(batch)
                run = self._runs[batch.id] = BatchRun(
                    batch,
                    lines,
                    self._store,
                    self._slots,
                    self._admission,
                    self._answer,
                    self._bounds,
                )
                await run.send()

    async def _read(self, batch: BatchRecord) -> InputLines:
        """Return the rows of the input file. Raises Faulty if it cannot be read."""
        path: Path = self._folder.path(batch.input_file)
        most = self._bounds.max_batch_lines, self._bounds.max_body_bytes
        try:
            return await self._long_work.do(
                batch.user, partial(InputLines, path, batch.endpoint, *most)
            )
        except OSError as error:
            log.error("The input of %s: %s", batch.id, error)
            missing = LineError("missing_file", "the input file cannot be read")
            raise Faulty([missing]) from None

    async def _finish(
        self, batch_id: str, end: Status, lines: InputLines | None, errors: list[LineError]
    ) -> None:
        """Write the files of a batch, then give it its last status; wait while the disk is full."""
        while True:
            try:
                note = partial(_note_end, end=end, errors=errors)
                batch = await self._store.change(batch_id, note)
                assert batch is not None
                results = ResultFiles(self._folder, self._store, batch, end)
                await asyncio.to_thread(results.write, lines)
                files = tuple(results.files.values())
                complete = partial(_complete, results=results, end=end)
                await self._store.change(batch_id, complete, files)
            except OllamaError as error:
                log.error("The files of %s are not written yet: %s", batch_id, error)
                await asyncio.sleep(DISK_SECONDS)
            else:
                return


class Faulty(Exception):
    """The input of a batch cannot be sent."""

    def __init__(self, errors: list[LineError]) -> None:
        super().__init__(errors)
        self.errors = errors


def _begin(batch: BatchRecord, *, total: int) -> None:
    batch.total = total
    if batch.status is Status.VALIDATING:
        enter(batch, Status.IN_PROGRESS)


def _note_end(batch: BatchRecord, *, end: Status, errors: list[LineError]) -> None:
    batch.end = end
    batch.errors = batch.errors or [msgspec.to_builtins(error) for error in errors]
    if end is Status.COMPLETED:
        enter(batch, Status.FINALIZING)


def _complete(batch: BatchRecord, *, results: ResultFiles, end: Status) -> None:
    results.apply(batch)
    enter(batch, end)
