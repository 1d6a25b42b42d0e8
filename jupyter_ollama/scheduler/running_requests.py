"""The registry of the requests under way."""

from __future__ import annotations

from collections.abc import Callable

from .events import Events
from .request import ModelRequest, RequestRecord


class RunningRequests:
    """The requests under way, the oldest first, until they have ended and their cost is known.

    Several requests of a user may have the same id.
    """

    def __init__(self, events: Events) -> None:
        self._events = events
        self._records: dict[RequestRecord, None] = {}

    @property
    def open(self) -> list[RequestRecord]:
        """The requests whose answer has not ended."""
        return [record for record in self._records if not record.closed]

    @property
    def of_models(self) -> list[ModelRequest]:
        """The requests that run a model, including ended ones whose cost is still unknown."""
        return [record for record in self._records if isinstance(record, ModelRequest)]

    def track(
        self,
        user: str,
        path: str,
        request_id: str = "",
        on_cancel: Callable[[], None] | None = None,
    ) -> RequestRecord:
        """Register a request that runs no model until it is closed."""
        record = RequestRecord(
            user=user, path=path, request_id=request_id, on_cancel=on_cancel, on_end=self.remove
        )
        self.add(record)
        return record

    def add(self, record: RequestRecord) -> None:
        """Register a request."""
        self._records[record] = None

    def remove(self, record: RequestRecord) -> None:
        """Remove a request that has ended."""
        del self._records[record]

    def cancel(self, request_id: str | None = None, user: str | None = None) -> bool:
        """Cancel the requests of an id, of a user, or of both; return whether there were any.

        Emits the event "cancel" for each of them.
        """
        found = [
            record
            for record in self.open
            if record.on_cancel
            and request_id in (None, record.request_id)
            and user in (None, record.user)
        ]
        for record in found:
            if record.cancel():
                self._events.emit("cancel", user=record.user, model=record.model)
        return bool(found)
