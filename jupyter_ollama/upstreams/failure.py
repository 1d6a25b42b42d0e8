"""The ways in which a request to an upstream fails, and what follows from each."""

from __future__ import annotations

from enum import Enum

from ..errors import OllamaError
from ..scheduler.limits import LimitReached

BUSY_SECONDS = 2.0
"""Seconds after which a client may ask a busy upstream again: about one answer later."""


class Kind(Enum):
    """What a failure says about the upstream."""

    DOWN = "down"
    """It cannot be reached: the same request may be sent again."""
    BROKEN = "broken"
    """The connection has ended within the request, which may be sent again."""
    FAULTY = "faulty"
    """It answers with nonsense or not at all: another one may do better."""
    ERROR = "error"
    """It has failed at this request, and says so: it works, but another one may do better."""
    BUSY = "busy"
    """It refuses work for now."""
    MISSING = "missing"
    """It does not have the model."""
    REQUEST = "request"
    """It refuses the request, as others would: the client gets its reason."""


class UpstreamFailure(Exception):
    """A failed request. ``status`` and ``message`` are for the client; they hold no secrets."""

    def __init__(self, kind: Kind, status: int, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.message = message

    def error(self) -> OllamaError:
        """Return the error that the client gets; one that may pass says when to try again."""
        if self.kind is Kind.BUSY:
            return LimitReached(self.message, BUSY_SECONDS, self.status)
        return OllamaError(self.status, self.message)
