"""The cost of answers in the record of usage: each once, also after a kill between both files."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .records import AnswerRecord, BatchRecord

if TYPE_CHECKING:
    from ..scheduler.admission import Admission
    from .store import BatchStore

log = logging.getLogger(__name__)

RETRY_SECONDS = 30.0
"""The time between two attempts to settle while the record of usage cannot be written."""


@dataclass
class AnsweredRow:
    """The answer to a row as the record of usage stores it; ``opened`` is 0."""

    user: str
    groups: tuple[str, ...]
    model: str
    digest: str
    path: str
    status: int
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    waited: float
    closed: float
    once: str
    recorded_at: float | None
    opened: float = 0.0
    number: int = 0

    @classmethod
    def of(cls, batch: BatchRecord, answer: AnswerRecord) -> AnsweredRow:
        """Return the row of an answer."""
        return cls(
            user=batch.user,
            groups=batch.groups,
            model=answer.model,
            digest=answer.digest,
            path=batch.endpoint,
            status=answer.status,
            prompt_tokens=answer.prompt_tokens,
            cached_tokens=answer.cached_tokens,
            generated_tokens=answer.generated_tokens,
            waited=answer.waited,
            closed=answer.seconds,
            once=answer.request_id,
            recorded_at=answer.time,
        )


async def record_missing(admission: Admission, store: BatchStore, batch: BatchRecord) -> int:
    """Record the cost of the answers that were stored but not recorded before the server ended.

    Returns their number. They count against the budgets of the user, too.
    """
    usage = admission.store
    if usage is None:
        return 0
    known = await asyncio.to_thread(usage.recorded, f"{batch.id}-")
    missing = [one for one in await store.costs(batch.id) if one.request_id not in known]
    for answer in missing:
        if answer.model:
            usage.add(AnsweredRow.of(batch, answer))
            admission.spend(
                batch.user,
                batch.groups,
                answer.model,
                answer.prompt_tokens + answer.generated_tokens,
            )
    return len(missing)


async def settle(admission: Admission, store: BatchStore, batch: BatchRecord) -> None:
    """Forget the answers of an ended batch once all of their cost is recorded."""
    usage = admission.store
    while usage and not await asyncio.to_thread(usage.wait_until_written):
        log.warning("The cost of %s is not recorded yet", batch.id)
        await asyncio.sleep(RETRY_SECONDS)
    await store.settle(batch.id)
