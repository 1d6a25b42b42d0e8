"""Report the errors of a client as those of a magic, with advice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from jupyter_ollama_client.errors import (
    OllamaClientError,
    OllamaConnectionError,
    OllamaResponseError,
)

from .connection import Connection
from .failures import Interrupted, OllamaMagicsError
from .names import pull_command, typed

_LACK = re.compile(r"does not support (chat|generate|vision|tools|thinking)\b")


@contextmanager
def reported(
    connection: Connection, model: str | None = None, *, suggests_pull: bool = True
) -> Iterator[None]:
    """Convert the errors of a client into an OllamaMagicsError with advice.

    With ``suggests_pull`` the error about a missing model names the command that gets it.
    An interrupt closes every connection, which cancels the requests of this kernel.
    """
    try:
        yield
    except KeyboardInterrupt:
        connection.hang_up()
        raise Interrupted() from None
    except OllamaClientError as error:
        raise OllamaMagicsError(_advice(error, connection, model, suggests_pull)) from error
    except ValueError as error:  # an invalid address
        raise OllamaMagicsError(str(error)) from error


def _advice(
    error: OllamaClientError, connection: Connection, model: str | None, suggests_pull: bool
) -> str:
    text = typed(str(error))
    if isinstance(error, OllamaConnectionError):
        if not error.connected:
            text = text.rstrip(".") + ", or run %ollama connect URL."
            text += f" {connection.skipped}" if connection.skipped else ""
        # The next call discovers the server again: its address may have changed.
        connection.reset()
    elif isinstance(error, OllamaResponseError) and error.status == 404 and "not found" in text:
        text += connection.suggestion(model or "")
        if suggests_pull and model and (command := pull_command(model)):
            text += f" To get it: {command}"
    elif isinstance(error, OllamaResponseError) and (lack := _LACK.search(text)):
        capability = "completion" if lack[1] in ("chat", "generate") else lack[1]
        text = f"{text.rstrip('.')}.{connection.instead(capability)}"
    return text
