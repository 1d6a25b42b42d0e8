"""What a user may keep in the folder of batches."""

from __future__ import annotations

from ..errors import OllamaError
from .settings import Bounds
from .store import Taken


def check_bytes(taken: Taken, more: int, bounds: Bounds) -> None:
    """Raise OllamaError(413) if a user, or all users, would have too many bytes."""
    if taken.bytes + more > bounds.max_user_batch_bytes:
        raise OllamaError(
            413,
            f"your files and answers would take {taken.bytes + more} bytes, the limit is "
            f"{bounds.max_user_batch_bytes}: delete files that you no longer need",
        )
    if taken.bytes_of_all + more > bounds.max_batches_bytes:
        raise OllamaError(
            413, "the files and answers of all users would take more bytes than the server allows"
        )


def check_new_file(taken: Taken, size: int, bounds: Bounds) -> None:
    """Raise OllamaError(413 or 429) if a user may not add a file of ``size`` bytes."""
    if size > bounds.max_batch_file_bytes:
        raise OllamaError(413, f"the file has more than {bounds.max_batch_file_bytes} bytes")
    if taken.files >= bounds.max_user_batch_files:
        raise OllamaError(
            429, f"you have {taken.files} files, the most allowed: delete some that you do not need"
        )
    check_bytes(taken, size, bounds)


def check_new_batch(taken: Taken, bounds: Bounds) -> None:
    """Raise OllamaError(429) if a user may not begin a batch."""
    if taken.batches >= bounds.max_user_batches:
        raise OllamaError(
            429,
            f"{taken.batches} of your batches have not ended, the most allowed: wait for one, or "
            "cancel one",
        )
    check_bytes(taken, 0, bounds)
