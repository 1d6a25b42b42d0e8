"""Batches, their files and their answers, as they are stored. Times are seconds since 1970."""

from __future__ import annotations

import secrets
import time
from enum import StrEnum
from typing import Any

import msgspec


class Status(StrEnum):
    """The states of a batch, as OpenAI's API names them."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


UNFINISHED = (Status.VALIDATING, Status.IN_PROGRESS, Status.FINALIZING, Status.CANCELLING)
ENDS = (Status.FAILED, Status.COMPLETED, Status.EXPIRED, Status.CANCELLED)


def new_id(prefix: str) -> str:
    """Return an id that nothing else has and that cannot be guessed."""
    return prefix + secrets.token_hex(12)


class FileRecord(msgspec.Struct, kw_only=True):
    """A file of a user. Its content has the name ``id`` in the folder of files."""

    id: str
    user: str
    purpose: str
    filename: str
    bytes: int
    created_at: float = msgspec.field(default_factory=time.time)
    expires_at: float


class BatchRecord(msgspec.Struct, kw_only=True):
    """A batch.

    - ``groups``, ``manages``: the groups of the user, and whether the user may change models, at
      the creation of the batch.
    - ``times``: when it entered each status.
    - ``end``: the status that it gets once its files are written.
    - ``settled``: whether the cost of all answers is in the record of usage.
    - ``answer_bytes``: the bytes of the answers that are not yet in a file.
    """

    id: str
    user: str
    groups: tuple[str, ...] = ()
    manages: bool = False
    endpoint: str
    input_file: str
    window: str
    metadata: dict[str, str] = {}
    status: Status = Status.VALIDATING
    end: str = ""
    created_at: float = msgspec.field(default_factory=time.time)
    expires_at: float
    keep_seconds: float
    times: dict[str, float] = {}
    total: int = 0
    completed: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    answer_bytes: int = 0
    model: str = ""
    output_file: str = ""
    error_file: str = ""
    errors: list[dict[str, Any]] = []
    settled: bool = False

    @property
    def is_finished(self) -> bool:
        """True if the batch has ended and its files are written."""
        return self.status in ENDS


class AnswerRecord(msgspec.Struct, kw_only=True):
    """The answer to a row, with its cost.

    ``text`` is the line of the output file, or of the error file where ``status`` is an error; it
    is empty once that file is written.
    """

    batch: str
    line: int
    status: int
    text: bytes
    model: str = ""
    digest: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    waited: float = 0.0
    seconds: float = 0.0
    time: float = msgspec.field(default_factory=time.time)

    @property
    def request_id(self) -> str:
        """The id of the row's request, which no other row has."""
        return f"{self.batch}-{self.line}"


def request_id(batch: str, line: int) -> str:
    """Return the id of the request for a line of a batch."""
    return f"{batch}-{line}"
