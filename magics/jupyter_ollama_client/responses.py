"""Read the responses of a server: objects, lines of streams, embeddings and refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .errors import OllamaResponseError

if TYPE_CHECKING:
    import httpx2


class ResponseReader:
    """Reads the responses of the server at ``url``.

    Every method raises OllamaResponseError for a response that is an error or not of the API.
    ``has_password`` says which credentials an error about access names.
    """

    def __init__(self, url: str, has_password: bool) -> None:
        self._url = url
        self._has_password = has_password

    def require_success(self, response: httpx2.Response) -> None:
        """Raise the error of a response that has been read, unless its status is a success."""
        if not response.is_success:
            raise OllamaResponseError(response.status_code, self._refusal(response))

    def item(self, line: bytes, response: httpx2.Response) -> dict[str, Any]:
        """Return the object of a line of a stream; a line may be an error, too."""
        item = self.decode(line, response)
        if "error" in item:
            raise OllamaResponseError(response.status_code, _error_field(item))
        return item

    def object(self, response: httpx2.Response) -> dict[str, Any]:
        """Return the JSON object of a response that has been read."""
        self.require_success(response)
        return self.decode(response.content, response)

    def embeddings(self, response: httpx2.Response) -> dict[str, Any]:
        """Return a response of ``/api/embed`` that has been read, its embeddings as an array."""
        from . import vectors

        if response.is_success and response.headers.get("content-type") == vectors.ARROW:
            return vectors.from_arrow(response.content)
        answer = self.object(response)
        try:
            return vectors.from_json(answer)
        except (ValueError, TypeError):
            message = f"{self._url} answered with embeddings that are not rows of numbers."
            raise OllamaResponseError(response.status_code, message) from None

    def decode(self, content: bytes, response: httpx2.Response) -> dict[str, Any]:
        """Return a JSON object."""
        try:
            item = json.loads(content)
        except ValueError:
            item = None
        if isinstance(item, dict):
            return item
        kind = response.headers.get("content-type", "no content type").partition(";")[0]
        raise OllamaResponseError(
            response.status_code,
            f"{self._url} answered with {kind} instead of JSON, so it is not an Ollama server.",
        )

    def _refusal(self, response: httpx2.Response) -> str:
        """Return the server's error text, or describe an answer that has none."""
        try:
            body = response.json()
        except ValueError:
            body = None
        explains = isinstance(body, dict) and "error" in body
        if isinstance(body, dict) and (text := _error_field(body)):
            message = text
        else:
            message = f"{self._url} answered {response.status_code} {response.reason_phrase}"
            title = re.search(r"<title[^>]*>\s*(.*?)\s*</title>", response.text, re.I | re.S)
            if response.is_redirect:
                message += f" to {response.headers.get('location', 'another address')}"
            elif "html" in response.headers.get("content-type", ""):
                page = f'the HTML page "{title[1]}"' if title else "an HTML page"
                message += f" with {page}; that is a proxy or web server, not Ollama"
            elif response.text.strip() and len(response.text) < 300:
                message += f": {response.text.strip()}"
        # A 403 of the API itself says what is missing: it knows the user.
        unexplained = response.status_code == 403 and not explains
        if response.status_code == 401 or unexplained or response.is_redirect:
            what = "user or password" if self._has_password else "token"
            message += f" (the {what} is missing or not accepted)"
        return message


def without_none(body: dict[str, Any]) -> dict[str, Any]:
    """Return a body without the fields that were not given."""
    return {name: value for name, value in body.items() if value is not None}


def split_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a stream of NDJSON that are not blank.

    They end at newline bytes only: JSON texts may contain U+2028 and similar characters unescaped.
    """
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line for line in lines if line.strip())
    if rest.strip():
        yield rest


def _error_field(body: dict[str, Any]) -> str:
    error = body.get("error") or body.get("message") or ""
    return str(error.get("message", error)) if isinstance(error, dict) else str(error)


def reason(error: Exception) -> str:
    """Return the operating system's message for a failed connection."""
    return re.sub(r"^\[Errno -?\d+\] ", "", str(error)).rstrip(".") or type(error).__name__
