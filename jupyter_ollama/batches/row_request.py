"""One attempt to answer a row: an ordinary request of the batch's owner, admitted as any other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from ..errors import OllamaError
from ..scheduler.admission import Admission
from ..scheduler.limits import LimitReached
from ..scheduler.request import ModelRequest
from .input_lines import InputLine
from .records import AnswerRecord, BatchRecord, request_id
from .results import answer_line

CANCELLED = 499

AnswerRow = Callable[[BatchRecord, bytes, ModelRequest], Awaitable[tuple[int, bytes]]]
"""Answers the body of a row: returns the HTTP status and the JSON of the answer or the error.

Raises LimitReached for a row that is to be sent again later.
"""


class Refused(Exception):
    """The row was not answered and is to be sent again, after a pause if ``limit`` says so."""

    def __init__(self, limit: LimitReached | None = None) -> None:
        super().__init__(str(limit))
        self.limit = limit


class RowRequest:
    """An attempt. It is ended by ``close`` once the answer is stored, or else by ``drop``."""

    def __init__(
        self, admission: Admission, answer: AnswerRow, batch: BatchRecord, number: int
    ) -> None:
        self._admission = admission
        self._answer = answer
        self._batch = batch
        self._number = number
        self._request: ModelRequest | None = None

    async def run(self, row: InputLine) -> AnswerRecord:
        """Return the answer, which may be an error. Raises Refused.

        An attempt that is refused or cancelled is dropped.
        """
        try:
            return await self._run(row)
        except OllamaError as error:
            self.drop(error.status)
            raise Refused(error if isinstance(error, LimitReached) else None) from None
        except BaseException:
            self.drop(CANCELLED)
            raise

    async def _run(self, row: InputLine) -> AnswerRecord:
        batch, name = self._batch, request_id(self._batch.id, self._number)
        inner: asyncio.Task[tuple[int, bytes]] | None = None

        def cancel() -> None:
            if inner is not None:
                inner.cancel()

        with self._admission.admit(
            batch.user, batch.groups, name, batch.endpoint, "bulk", cancel
        ) as request:
            self._request = request
            request.once = name
            inner = asyncio.ensure_future(self._answer(batch, bytes(row.body), request))
            try:
                status, body = await inner
            except asyncio.CancelledError:
                status, body = self._cancelled(request)
        return AnswerRecord(
            batch=batch.id,
            line=self._number,
            status=status,
            text=answer_line(batch.id, self._number, row.custom_id, status, body),
            model=request.model,
            digest=request.digest,
            prompt_tokens=request.prompt_tokens,
            cached_tokens=request.cached_tokens,
            generated_tokens=request.generated_tokens,
            waited=request.waited,
            seconds=time.perf_counter() - request.opened,
        )

    def _cancelled(self, request: ModelRequest) -> tuple[int, bytes]:
        """Return the answer of a row that was cancelled by its id.

        Raises CancelledError if the whole batch ends, Refused if its user was blocked meanwhile.
        """
        task = asyncio.current_task()
        if not request.is_cancelled or (task and task.cancelling()):
            raise asyncio.CancelledError
        if request.user in self._admission.blocked:
            raise Refused
        return CANCELLED, b'{"error":{"message":"request canceled"}}'

    def close(self, status: int) -> None:
        """End the request, whose answer is stored, and record its cost."""
        if self._request and not self._request.closed:
            self._request.close(status)

    def drop(self, status: int) -> None:
        """End the request without an answer: its user is not charged for it in the record."""
        if self._request and not self._request.closed:
            self._request.is_recorded = False
            self._request.close(status)
