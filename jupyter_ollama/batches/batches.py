"""The batches and files of all users, kept in a folder."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..errors import OllamaError
from ..scheduler.admission import Admission
from .course import Courses, LongWork
from .folder import BatchFolder
from .quotas import check_new_batch, check_new_file
from .records import BatchRecord, FileRecord, Status, new_id
from .row_request import AnswerRow
from .settings import Bounds
from .settlement import record_missing
from .store import BatchStore, enter

log = logging.getLogger(__name__)

DAY = 86400.0

TOUCH_SECONDS = 30.0
"""The interval at which batches under way are reported to the culler of idle servers."""

SWEEP_SECONDS = 3600.0
"""The interval at which expired files and old batches are removed."""

UPLOADED = ("batch", "user_data")
"""The purposes of files that users upload; only the first is read by batches."""


class Upload(NamedTuple):
    """A file that was written to the folder; ``keep_seconds`` is None for the server's default."""

    purpose: str
    filename: str
    bytes: int
    keep_seconds: float | None = None


class Opened(NamedTuple):
    """The folder of a server that has its lock."""

    folder: BatchFolder
    store: BatchStore
    courses: Courses


class Batches:
    """Batches and files. The first use opens the folder and goes on with the batches in it.

    Every coroutine raises OllamaError: 500 where the disk refuses, 503 while another server has the
    folder. ``touch`` reports activity to the culler of idle servers.
    """

    def __init__(
        self,
        root: Path,
        bounds: Bounds,
        admission: Admission,
        long_work: LongWork,
        answer: AnswerRow,
    ) -> None:
        self.touch: Callable[[], None] = lambda: None
        self._root = root
        self._bounds = bounds
        self._admission = admission
        self._long_work = long_work
        self._answer = answer
        self._opening: asyncio.Future[Opened] | None = None
        self._opened: Opened | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def under_way(self) -> int:
        """The number of batches that have not ended."""
        return len(self._opened.courses.under_way) if self._opened else 0

    def resume(self) -> None:
        """Begin to go on with the batches of a former server, if there is a record of any."""
        if self._record.exists() and self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
            self._opening.add_done_callback(_log_failure)

    async def close(self) -> None:
        """Interrupt the batches; a later server goes on with them."""
        if self._opening is not None:
            await asyncio.wait([self._opening])
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._opened:
            await asyncio.to_thread(self._opened.store.close)
            self._opened.folder.close()

    @property
    def _record(self) -> Path:
        return self._root / "batches.sqlite"

    async def _open_once(self) -> Opened:
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
        try:
            return await asyncio.shield(self._opening)
        except OllamaError:
            self._opening = None
            raise

    async def _open(self) -> Opened:
        await self._admission.restored()
        folder = await asyncio.to_thread(BatchFolder, self._root)
        try:
            store = await asyncio.to_thread(BatchStore, self._record)
        except OllamaError:
            folder.close()
            raise
        known = {file.id for file in await store.files("")}
        await asyncio.to_thread(folder.remove_others, known)
        courses = Courses(
            folder, store, self._bounds, self._admission, self._long_work, self._answer
        )
        for batch in await store.unsettled():
            missing = await record_missing(self._admission, store, batch)
            log.info("%s goes on; the cost of %d answers was not recorded", batch.id, missing)
            self._spawn(courses.run(batch))
        self._opened = Opened(folder, store, courses)
        self._spawn(self._sweep(folder, store))
        self._spawn(self._touch_regularly())
        return self._opened

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- files

    async def add_file(
        self, user: str, size: int, write: Callable[[IO[bytes]], Upload]
    ) -> FileRecord:
        """Keep a file of about ``size`` bytes, whose content ``write`` writes in a thread.

        Raises OllamaError: 413 or 429 beyond the user's bounds, 500 if the disk does not take it.
        """
        folder, store, _ = await self._open_once()
        taken = await store.taken(user)
        check_new_file(taken, size, self._bounds)
        file_id = new_id("file-")

        def save() -> Upload:
            with folder.new(file_id) as file:
                upload = write(file)
                check_new_file(taken, upload.bytes, self._bounds)
                return upload

        upload = await asyncio.to_thread(save)
        longest = self._bounds.batch_days * DAY
        file = FileRecord(
            id=file_id,
            user=user,
            purpose=upload.purpose,
            filename=upload.filename,
            bytes=upload.bytes,
            expires_at=0.0,
        )
        file.expires_at = file.created_at + min(upload.keep_seconds or longest, longest)
        try:
            await store.add_file(file)
        except OllamaError:
            folder.remove([file_id])
            raise
        return file

    async def files(self, user: str) -> list[FileRecord]:
        """Return the files of a user, the newest first."""
        _, store, _ = await self._open_once()
        return await store.files(user)

    async def file(self, user: str, file_id: str) -> FileRecord:
        """Return a file of a user. Raises OllamaError(404)."""
        _, store, _ = await self._open_once()
        file = await store.file(file_id)
        if file is None or file.user != user:
            raise OllamaError(404, f"No such File object: {file_id}")
        return file

    async def content(self, user: str, file_id: str) -> Path:
        """Return the path of a file's content. Raises OllamaError(404)."""
        folder, _, _ = await self._open_once()
        return folder.path((await self.file(user, file_id)).id)

    async def remove_file(self, user: str, file_id: str) -> None:
        """Remove a file. Raises OllamaError: 404, or 409 while a batch reads it."""
        folder, store, _ = await self._open_once()
        file = await self.file(user, file_id)
        using = await store.remove_file(file.id)
        if using:
            raise OllamaError(409, f"{file_id} is the input of {using}, which has not ended")
        await asyncio.to_thread(folder.remove, [file.id])

    # -- batches

    async def create(self, batch: BatchRecord) -> BatchRecord:
        """Begin a batch. Raises OllamaError: 400, 403, 404, 413 or 429."""
        _, store, courses = await self._open_once()
        if batch.user in self._admission.blocked:
            raise OllamaError(403, "you may not use models here until an administrator says so")
        file = await self.file(batch.user, batch.input_file)
        if file.purpose != "batch":
            raise OllamaError(400, f'{file.id} has the purpose "{file.purpose}", not "batch"')
        check_new_batch(await store.taken(batch.user), self._bounds)
        enter(batch, Status.VALIDATING)
        await store.add_batch(batch)
        self.touch()
        self._spawn(courses.run(batch))
        return batch

    async def batches(self, user: str) -> list[BatchRecord]:
        """Return the batches of a user, the newest first; of all users for ''."""
        _, store, _ = await self._open_once()
        return await store.batches(user)

    async def batch(self, batch_id: str) -> BatchRecord:
        """Return a batch of any user. Raises OllamaError(404)."""
        _, store, _ = await self._open_once()
        batch = await store.batch(batch_id)
        if batch is None:
            raise OllamaError(404, f"No batch found with id '{batch_id}'.")
        return batch

    def pause_of(self, batch_id: str) -> str:
        """Return why a batch under way pauses, "" if it does not."""
        return self._opened.courses.pause_of(batch_id) if self._opened else ""

    async def cancel(self, batch: BatchRecord) -> BatchRecord:
        """Cancel a batch: rows under way end, and answers that have arrived are kept.

        Raises OllamaError(409) if it has ended.
        """
        _, store, courses = await self._open_once()

        def change(one: BatchRecord) -> None:
            if one.is_finished:
                raise OllamaError(409, f"Cannot cancel a batch with status '{one.status}'.")
            if one.status in (Status.VALIDATING, Status.IN_PROGRESS):
                one.end = Status.CANCELLED
                enter(one, Status.CANCELLING)

        changed = await store.change(batch.id, change)
        courses.stop_sending(batch.id)
        return changed or batch

    # -- upkeep

    async def _touch_regularly(self) -> None:
        while True:
            if self.under_way:
                self.touch()
            await asyncio.sleep(TOUCH_SECONDS)

    async def _sweep(self, folder: BatchFolder, store: BatchStore) -> None:
        """Remove what has expired, now and every hour."""
        while True:
            try:
                old = await store.remove_expired(self._bounds.batch_days * DAY)
                await asyncio.to_thread(folder.remove, old)
            except OllamaError as error:
                log.error("Expired files are not removed yet: %s", error)
            await asyncio.sleep(SWEEP_SECONDS)


def _log_failure(opening: asyncio.Future[Opened]) -> None:
    if not opening.cancelled() and (error := opening.exception()):
        log.warning("Batches do not go on: %s", error)
