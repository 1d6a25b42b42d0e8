"""Answers of registries: their bodies, errors and tokens."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import msgspec

from ..errors import OllamaError
from ..library.requirement import refused_by_registry
from .credentials import DENIED

MAX_MANIFEST = 4 * 2**20
"""The most bytes of an answer that are read into memory; manifests are far smaller."""

_MAX_ERROR_TEXT = 1000
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}


class Temporary(OllamaError):
    """A failure that a retry may avoid. ``after`` is the wait in seconds that was requested."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(500, message)
        self.after = after


class Refused(OllamaError):
    """The registry refused the request."""


class Missing(OllamaError):
    """The requested file does not exist."""

    def __init__(self) -> None:
        super().__init__(500, "file does not exist")


class _Error(msgspec.Struct):
    message: str = ""


class _Errors(msgspec.Struct):
    """The body of an error, by the OCI distribution specification."""

    errors: list[_Error] = []


async def body_of(response: httpx2.Response) -> bytes:
    """Return the body of an answer. Raises OllamaError if it has more than MAX_MANIFEST bytes."""
    data = bytearray()
    async for chunk in response.aiter_raw():
        data += chunk
        if len(data) > MAX_MANIFEST:
            raise OllamaError(500, f"the registry's answer has more than {MAX_MANIFEST} bytes")
    return bytes(data)


async def error_of(response: httpx2.Response, is_own: bool) -> OllamaError:
    """Return the error for an answer with a status of 400 or more.

    ``is_own`` is whether the registry itself answered. The text of another host, to which the
    registry redirected, is not shown to users.
    """
    status = response.status_code
    if status == 404:
        return Missing()
    if status == 401:
        return OllamaError(500, DENIED)
    body = await body_of(response) if is_own else b""
    text = body[:_MAX_ERROR_TEXT].decode(errors="replace").strip()
    if status == 412:
        return Refused(500, refused_by_registry(_explanation(body) or " ".join(text.split())))
    message = f"{status}: {text}"
    if status in _TEMPORARY:
        return Temporary(message, _retry_after(response))
    return Refused(500, message)


def token_of(body: bytes) -> str:
    """Return the bearer token in the answer of a token server. Raises OllamaError."""
    try:
        answer: Any = msgspec.json.decode(body)
    except msgspec.DecodeError:
        answer = None
    token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else ""
    if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
        raise OllamaError(500, DENIED)
    return token


def _explanation(body: bytes) -> str:
    """Return the messages of a registry's error in JSON, "" for another body."""
    try:
        errors = msgspec.json.decode(body, type=_Errors).errors
    except msgspec.DecodeError:
        return ""
    text = " ".join(" ".join(error.message.split()) for error in errors)
    return text[:_MAX_ERROR_TEXT].strip()


def _retry_after(response: httpx2.Response) -> float:
    text = response.headers.get("Retry-After", "")
    return min(float(text), 60.0) if text.isdecimal() else 0.0
