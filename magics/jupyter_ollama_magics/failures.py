"""How a failed magic looks: the cell ends with an error, and the error is one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from .errors import OllamaClientError, OllamaConnectionError, OllamaResponseError

if TYPE_CHECKING:
    from .connection import Connection


class OllamaMagicsError(UsageError):
    """An error for the user: it stops Run All and shows its text without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"\x1b[31mError:\x1b[0m {self}"]


class Interrupted(KeyboardInterrupt):
    """A kernel interrupt that shows as one line."""

    def _render_traceback_(self) -> list[str]:
        return ["\x1b[31mInterrupted\x1b[0m"]


@contextmanager
def reported(connection: Connection, model: str | None = None) -> Iterator[None]:
    """Turn what a client raises into an OllamaMagicsError that says what to do about it.

    After an interrupt no connection stays open, so that the server stops working for this kernel.
    """
    try:
        yield
    except KeyboardInterrupt:
        connection.hang_up()
        raise Interrupted() from None
    except OllamaClientError as error:
        raise OllamaMagicsError(_advice(error, connection, model)) from error
    except ValueError as error:  # an address that is none
        raise OllamaMagicsError(str(error)) from error


def _advice(error: OllamaClientError, connection: Connection, model: str | None) -> str:
    text = str(error)
    if isinstance(error, OllamaConnectionError):
        if not error.connected:
            text = text.rstrip(".") + ", or run %ollama connect URL."
            text += f" {connection.skipped}" if connection.skipped else ""
        # The next call looks for the server again: it may have come back somewhere else.
        connection.reset()
    elif isinstance(error, OllamaResponseError) and error.status == 404 and "not found" in text:
        text += connection.suggestion(model or "")
    return text
