"""The settings of batches and their files."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from traitlets import Float, Int, Unicode, default
from traitlets.config import LoggingConfigurable

_MIB = 2**20


class BatchSettings(LoggingConfigurable):
    """The place of batches on the disk, and their bounds."""

    batch_dir = Unicode(
        help="""Keep batches and their files in this folder, which one server at a time uses. It
        holds prompts and answers. Default: the folder "batches" beside usage_file."""
    ).tag(config=True)
    batch_rows = Int(
        32,
        min=1,
        help="""Rows of all batches that are under way at once, half of max_queue at most: the 16
        that a model runs and as many that are ready when one of them ends. They wait for all other
        requests of their user.""",
    ).tag(config=True)
    max_batch_file_bytes = Int(
        100 * _MIB,
        min=1,
        help="""Bytes of a file that is uploaded: 50,000 rows of 2,000 characters. Kept on disk.""",
    ).tag(config=True)
    max_batch_lines = Int(
        50_000,
        min=1,
        help="""Rows of a batch, as many as OpenAI takes. Their places take 8 bytes each while the
        batch is under way.""",
    ).tag(config=True)
    max_user_batches = Int(
        20,
        min=1,
        help="""Batches of a user that have not ended, further ones get 429. They share the turns of
        their user, so more of them are not answered sooner.""",
    ).tag(config=True)
    max_user_batch_files = Int(
        500, min=1, help="""Files of a user, further ones get 429: each batch leaves up to three."""
    ).tag(config=True)
    max_user_batch_bytes = Int(
        2048 * _MIB,
        min=1,
        help="""Bytes of the files and answers of one user, twenty of the largest files. Beyond that
        uploads get 413, and a batch under way fails and keeps its answers.""",
    ).tag(config=True)
    max_batches_bytes = Int(
        20480 * _MIB,
        min=1,
        help="""Bytes of the files and answers of all users, so that batches do not fill the
        disk.""",
    ).tag(config=True)
    max_batch_hours = Float(
        168.0,
        min=0.1,
        help="""The longest completion_window of a batch, in hours: a week. OpenAI's clients send
        24h. Rows without an answer by then expire.""",
    ).tag(config=True)
    batch_days = Float(
        30.0,
        min=0.01,
        help="""Remove files, and batches that have ended, after this many days, unless their
        owner has set an earlier time.""",
    ).tag(config=True)

    usage_file: str

    @default("batch_dir")
    def _default_batch_dir(self) -> str:
        return str(Path(self.usage_file).expanduser().parent / "batches")


class Bounds(Protocol):
    """The settings that batches read: see `BatchSettings`."""

    batch_rows: int
    max_batch_file_bytes: int
    max_batch_lines: int
    max_user_batches: int
    max_user_batch_files: int
    max_user_batch_bytes: int
    max_batches_bytes: int
    max_batch_hours: float
    batch_days: float
    max_queue: int
    max_body_bytes: int
