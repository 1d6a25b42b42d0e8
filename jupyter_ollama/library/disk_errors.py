"""Disk errors: messages that name what could not be written and suggest a remedy."""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import OllamaError

log = logging.getLogger(__name__)

STORE = "the folder of the models"
_FREE = "Delete models or other files there, or keep models elsewhere (OLLAMA_MODELS)"
_RIGHTS = "Let the server's user write there, or keep models elsewhere (OLLAMA_MODELS)"
_ADVICE = {
    errno.ENOSPC: ("no space left on device", _FREE),
    errno.EDQUOT: ("disk quota exceeded", _FREE),
    errno.EFBIG: ("file too large", "The file system or a limit of the server allows no such file"),
    errno.EROFS: ("read-only file system", "Mount it for writing, or keep models elsewhere"),
    errno.EACCES: ("permission denied", _RIGHTS),
    errno.EPERM: ("operation not permitted", _RIGHTS),
    errno.EIO: ("input/output error", "The disk may be damaged"),
}
_ERRNO = re.compile(r"\[Errno (\d+)\]")
_WORDS = {text: number for number, (text, _) in _ADVICE.items()}


def is_about_disk(error: BaseException) -> bool:
    """Return whether `explained` has advice for an error."""
    return isinstance(error, OSError) and error.errno in _ADVICE


def explained(error: OSError, what: str, where: str = STORE) -> OllamaError:
    """Return the error for a client, with the status that Ollama gives it. The log names the path.

    ``what`` could not be written to ``where``.
    """
    log.error("Cannot write %s: %s", what, error)
    known = _ADVICE.get(error.errno or 0)
    if known is None:
        return OllamaError(500, f"cannot write {what} to {where}: {error.strerror or 'failed'}")
    reason, advice = known
    return OllamaError(500, f"cannot write {what} to {where}: {reason}. {advice}")


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Turn errors of the store's disk into `OllamaError` (500). Other errors propagate."""
    try:
        yield
    except OSError as error:
        if not is_about_disk(error):
            raise
        raise explained(error, what) from error


def disk_error_of(text: str) -> OSError | None:
    """Return the disk error that a process has printed, or None."""
    found = _ERRNO.search(text)
    number = int(found[1]) if found else None
    if number is None:
        lower = text.lower()
        number = next((_WORDS[words] for words in _WORDS if words in lower), None)
    return OSError(number, _ADVICE[number][0]) if number in _ADVICE else None
