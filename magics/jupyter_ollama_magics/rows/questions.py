"""Rows that an operator asks a model about before the rows of the call: labels, labelled rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..failures import OllamaMagicsError
from ..reporting import reported
from . import jobs as rows

if TYPE_CHECKING:
    from ..servers import Servers
    from .tasks import Task


def values_of(
    servers: Servers, task: Task, capability: str, texts: Sequence[str], what: str
) -> list[Any]:
    """Return the value of each text. Raises OllamaMagicsError, with ``what`` the texts are."""
    with reported(servers.connections[0], task.model):
        clients, identity = servers.having(task.model, capability)
        job = rows.RowJob(task, identity, texts, strict=True)
        try:
            rows.run(job, clients, progress=False)
        except rows.RowFailed as error:
            raise OllamaMagicsError(f"{what}: {error}.") from None
    return [job.answers[text] for text in texts]
