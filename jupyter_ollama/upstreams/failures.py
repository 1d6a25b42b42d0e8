"""The failures of one upstream in words for clients, which hold neither its key nor its address."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import orjson
from jupyter_ollama_client.responses import reason

from ..errors import one_line
from .failure import Kind, UpstreamFailure
from .keys import key_of
from .spec import UpstreamSpec

_SHOWN = 300
_PERMANENT = frozenset({400, 405, 406, 409, 410, 413, 414, 415, 422, 501})
_BUSY = frozenset({408, 425, 429, 503})
_GATEWAY = frozenset({502, 504})
"""Statuses of a proxy before an upstream that is gone."""


class Failures:
    """Makes the failures of an upstream."""

    def __init__(self, spec: UpstreamSpec) -> None:
        self._spec = spec

    @property
    def name(self) -> str:
        """The upstream in texts for clients."""
        return f'upstream "{self._spec.name}"'

    def nonsense(self, what: str) -> UpstreamFailure:
        """Return the failure for an answer that no such API gives."""
        return UpstreamFailure(Kind.FAULTY, 502, f"{self.name} answered with {what}")

    def unusable(self, what: str) -> UpstreamFailure:
        """Return the failure for an answer that the request or its model has caused."""
        return UpstreamFailure(Kind.ERROR, 502, f"{self.name} answered with {what}")

    def broken(self, error: Exception | str) -> UpstreamFailure:
        """Return the failure for a connection that ended within an answer."""
        text = error if isinstance(error, str) else reason(error)
        message = self._clean(f"{self.name} has broken off: {text}")
        return UpstreamFailure(Kind.BROKEN, 502, message)

    def reported(self, error: Any) -> UpstreamFailure:
        """Return the failure for an error within a stream."""
        text = self._clean(_error_text(error)) or "an unknown error"
        return UpstreamFailure(Kind.ERROR, 502, f"{self.name} reports: {text}")

    def silent(self, seconds: float) -> UpstreamFailure:
        """Return the failure for an answer that has not come in time."""
        message = f"{self.name} has not answered within {seconds:g} seconds"
        return UpstreamFailure(Kind.FAULTY, 504, message)

    def unreachable(self, error: Exception) -> UpstreamFailure:
        """Return the failure for a connection that cannot be made."""
        message = self._clean(f"{self.name} cannot be reached: {reason(error)}")
        return UpstreamFailure(Kind.DOWN, 502, message)

    def redirected(self) -> UpstreamFailure:
        """Return the failure for a redirect."""
        return self.nonsense("a redirect, which is not followed: its url must be the final one")

    def refused(self, status: int, body: bytes | bytearray) -> UpstreamFailure:
        """Return the failure that an HTTP status and the body of an error stand for."""
        try:
            said = self._clean(_error_text(orjson.loads(body)))
        except orjson.JSONDecodeError:
            said = ""
        if status in (401, 403):
            # Such texts often repeat a part of the key.
            message = f"{self.name} refuses the key of this server ({status})"
            return UpstreamFailure(Kind.FAULTY, 502, message)
        message = f"{self.name} answered {status}" + (f": {said}" if said else "")
        if status == 404:
            return UpstreamFailure(Kind.MISSING, 404, message)
        if status in _BUSY:
            return UpstreamFailure(Kind.BUSY, 503, message)
        if status in _PERMANENT:
            return UpstreamFailure(Kind.REQUEST, 501 if status == 501 else 400, message)
        return UpstreamFailure(Kind.FAULTY if status in _GATEWAY else Kind.ERROR, 502, message)

    def _clean(self, text: str) -> str:
        """Return a foreign text on one line, without the key and without the address."""
        try:
            key = key_of(self._spec)
        except UpstreamFailure:
            key = ""
        parts = urlsplit(self._spec.url)
        for secret in filter(None, (key, f"{parts.scheme}://{parts.netloc}", parts.netloc)):
            text = text.replace(secret, "…")
        return one_line(text)[:_SHOWN]


def _error_text(body: Any) -> str:
    """Return the text of an error in the form of any such API."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error.get("type") or ""
    return error if isinstance(error, str) else str(error)[:_SHOWN]
