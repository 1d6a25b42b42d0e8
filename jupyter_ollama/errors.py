"""The one error that every room raises and that the API turns into a body and a status."""

from __future__ import annotations


class OllamaError(Exception):
    """An error that a client sees as ``{"error": message}`` with the HTTP status ``status``."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
