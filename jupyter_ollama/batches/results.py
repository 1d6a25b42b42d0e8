"""The files that a batch leaves: the answers to its rows, and the errors of the others."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import orjson

from .folder import BatchFolder
from .input_lines import InputLines
from .records import BatchRecord, FileRecord, Status, new_id, request_id
from .store import BatchStore

OUTPUT = "batch_output"

_UNANSWERED = {
    Status.EXPIRED: (
        "batch_expired",
        "This request could not be executed before the completion window expired.",
    ),
    Status.CANCELLED: ("batch_cancelled", "The batch was cancelled before this request was sent."),
    Status.FAILED: ("batch_failed", "The batch failed before this request was sent."),
}
"""The errors of the rows without an answer, by the end of their batch."""


def answer_line(batch: str, line: int, custom_id: str, status: int, body: bytes) -> bytes:
    """Return the line for the answer to a row; ``body`` is JSON."""
    request = orjson.dumps(request_id(batch, line))
    response = b'{"status_code":%d,"request_id":%b,"body":%b}' % (status, request, body.strip())
    form = b'{"id":%b,"custom_id":%b,"response":%b,"error":null}'
    return form % (request, orjson.dumps(custom_id), response)


def unanswered_line(batch: str, line: int, custom_id: str, end: Status) -> bytes:
    """Return the line for a row that was never answered."""
    code, message = _UNANSWERED[end]
    return orjson.dumps(
        {
            "id": request_id(batch, line),
            "custom_id": custom_id,
            "response": None,
            "error": {"code": code, "message": message},
        }
    )


class ResultFiles:
    """Writes the files of a batch that has ended with ``end``."""

    def __init__(
        self, folder: BatchFolder, store: BatchStore, batch: BatchRecord, end: Status
    ) -> None:
        self._folder = folder
        self._store = store
        self._batch = batch
        self._end = end
        self.files: dict[str, FileRecord] = {}
        """The files by kind, "output" or "error"."""

    def write(self, lines: InputLines | None) -> None:
        """Write the files, in the order of the rows; without ``lines`` none are unanswered.

        Raises OllamaError(500) where the disk does not take them.
        """
        ids = {kind: new_id("file-") for kind in ("output", "error")}
        with ExitStack() as stack:
            open_files: dict[str, IO[bytes]] = {}

            def add(kind: str, text: bytes) -> None:
                if kind not in open_files:
                    open_files[kind] = stack.enter_context(self._folder.new(ids[kind]))
                open_files[kind].write(text + b"\n")

            answered = set()
            for number, status, text in self._store.lines(self._batch.id):
                answered.add(number)
                add("output" if status < 400 else "error", text)
            for index, number in enumerate(lines.numbers if lines else ()):
                if number not in answered and self._end in _UNANSWERED:
                    custom_id = lines.read(index).custom_id if lines else ""
                    text = unanswered_line(self._batch.id, number, custom_id, self._end)
                    add("error", text)
        self.files = {kind: self._record(kind, ids[kind]) for kind in open_files}

    def apply(self, batch: BatchRecord) -> None:
        """Name the files in the record of the batch."""
        for kind, file in self.files.items():
            setattr(batch, f"{kind}_file", file.id)
        batch.answer_bytes = 0

    def _record(self, kind: str, file_id: str) -> FileRecord:
        path: Path = self._folder.path(file_id)
        record = FileRecord(
            id=file_id,
            user=self._batch.user,
            purpose=OUTPUT,
            filename=f"{self._batch.id}_{kind}.jsonl",
            bytes=path.stat().st_size,
            expires_at=0.0,
        )
        record.expires_at = record.created_at + self._batch.keep_seconds
        return record


def usage_of(batch: BatchRecord) -> dict[str, Any]:
    """Return the tokens of a batch as OpenAI's API shows them."""
    return {
        "input_tokens": batch.prompt_tokens,
        "input_tokens_details": {"cached_tokens": batch.cached_tokens},
        "output_tokens": batch.generated_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": batch.prompt_tokens + batch.generated_tokens,
    }
