"""A batch under way: its rows are sent, refused ones again, and each answer is stored once."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING

from ..errors import OllamaError
from .input_lines import InputLines
from .pace import Pace
from .quotas import check_bytes
from .records import AnswerRecord, BatchRecord
from .row_request import AnswerRow, Refused, RowRequest

if TYPE_CHECKING:
    from ..scheduler.admission import Admission
    from .row_slots import RowSlots
    from .settings import Bounds
    from .store import BatchStore

log = logging.getLogger(__name__)

ATTEMPTS = 5
"""How often a row is sent that ends with an error of the server, such as a runner that died."""

FIRST_WAIT, LONGEST_WAIT = 0.2, 10.0
"""Seconds between such attempts; they double."""

CHECK_AFTER = 64
"""Answers after which the bytes of the user are counted again."""

DISK_SECONDS = 5.0
"""The time between two attempts to store an answer on a disk that is full."""


class BatchRun:
    """Sends the rows of a batch that have no answer yet."""

    def __init__(
        self,
        batch: BatchRecord,
        lines: InputLines,
        store: BatchStore,
        slots: RowSlots,
        admission: Admission,
        answer: AnswerRow,
        bounds: Bounds,
    ) -> None:
        self.batch = batch
        self.pace = Pace()
        self._lines = lines
        self._store = store
        self._slots = slots
        self._admission = admission
        self._answer = answer
        self._bounds = bounds
        self._suspects = asyncio.Lock()
        self._storing: set[asyncio.Task[None]] = set()
        self._kept = 0

    async def send(self) -> None:
        """Send the rows; return when each has an answer. Raises OllamaError(413) beyond a quota.

        Cancelled, it ends once the answers that have arrived are stored.
        """
        answered = await self._store.answered(self.batch.id)
        left = (index for index, number in enumerate(self._lines.numbers) if number not in answered)
        workers = min(len(self._lines) - len(answered), self._bounds.batch_rows)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(self._work(left))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            if self._storing:
                _, late = await asyncio.wait(self._storing, timeout=2 * DISK_SECONDS)
                for task in late:
                    task.cancel()

    async def _work(self, left: Iterator[int]) -> None:
        for index in left:
            await self._answer_row(index)

    async def _answer_row(self, index: int) -> None:
        """Send a row until it has an answer to store.

        A row that ended with an error of the server may have caused it: such rows are sent again
        one at a time, so that one that crashes a runner does not take the others with it.
        """
        wait = FIRST_WAIT
        for attempt in range(1, ATTEMPTS + 1):
            async with self._suspects if attempt > 1 else nullcontext():
                request, answer = await self._send(index)
            if answer.status < 500 or attempt == ATTEMPTS:
                break
            request.drop(answer.status)
            log.warning("%s is sent again after error %d", answer.request_id, answer.status)
            await asyncio.sleep(wait * random.uniform(1, 2))
            wait = min(2 * wait, LONGEST_WAIT)
        keeping = asyncio.create_task(self._keep(request, answer))
        self._storing.add(keeping)
        keeping.add_done_callback(self._storing.discard)
        await asyncio.shield(keeping)
        self.pace.answered()
        await self._check_quota()

    async def _send(self, index: int) -> tuple[RowRequest, AnswerRecord]:
        """Return the answer to a row, once it is admitted. Rows wait on the disk until then."""
        user, number = self.batch.user, self._lines.numbers[index]
        while True:
            await self.pace.ready(lambda: user in self._admission.blocked)
            async with self._slots.hold(user, self._most):
                request = RowRequest(self._admission, self._answer, self.batch, number)
                row = await asyncio.to_thread(self._lines.read, index)
                self.pace.in_flight += 1
                try:
                    return request, await request.run(row)
                except Refused as refusal:
                    if refusal.limit:
                        self.pace.refused(refusal.limit)
                finally:
                    self.pace.in_flight -= 1

    def _most(self) -> int:
        """Return how many rows of the user may be under way.

        At most half of the places in a queue of limited length: the others are for the questions
        that the user asks meanwhile.
        """
        limits = self._admission.limits(self.batch.user, self.batch.groups)
        most = min(self._bounds.batch_rows, max(1, self._bounds.max_queue // 2))
        if limits.queue is not None:
            most = min(most, (limits.concurrent or 0) + limits.queue // 2)
        return self.pace.most(most)

    async def _keep(self, request: RowRequest, answer: AnswerRecord) -> None:
        """Store an answer, then record its cost. A full disk is waited for: nothing is lost."""
        while True:
            try:
                await self._store.add_answer(answer)
            except OllamaError as error:
                log.error("The answer to %s is not stored yet: %s", answer.request_id, error)
                await asyncio.sleep(DISK_SECONDS)
            else:
                break
        request.close(answer.status)

    async def _check_quota(self) -> None:
        self._kept += 1
        if self._kept % CHECK_AFTER == 0:
            taken = await self._store.taken(self.batch.user)
            check_bytes(taken, 0, self._bounds)
