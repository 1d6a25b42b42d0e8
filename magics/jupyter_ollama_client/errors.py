"""The errors of calls to an Ollama server."""

from __future__ import annotations

SETTINGS = "set JUPYTER_OLLAMA_URL or OLLAMA_HOST to the address of yours"


class OllamaClientError(Exception):
    """The base of both errors below."""


class OllamaResponseError(OllamaClientError):
    """The server refused: ``message`` is its own text, ``status`` the HTTP status.

    The status is 200 when the error came as a line of a stream that had already begun.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class OllamaConnectionError(OllamaClientError):
    """``url`` did not answer, or not completely; ``reason`` is the operating system's message."""

    def __init__(self, url: str, reason: str, *, connected: bool = False) -> None:
        if connected:
            message = f"The connection to {url} broke: {reason}."
        else:
            message = f"Cannot reach an Ollama server at {url} ({reason}); {SETTINGS}."
        super().__init__(message)
        self.url = url
        self.reason = reason
        self.connected = connected
