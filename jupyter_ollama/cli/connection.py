"""The server that the client commands talk to: OLLAMA_HOST and OLLAMA_API_KEY, as Ollama has it."""

from __future__ import annotations

import logging
import os
from functools import cached_property

from jupyter_ollama_magics.client import Client
from jupyter_ollama_magics.discovery import parse_host

from .command import Command, CommandError


class ClientCommand(Command):
    """A command that asks a server."""

    def _log_level_default(self) -> int:
        return logging.WARNING

    @cached_property
    def client(self) -> Client:
        """The client of the server that the environment names."""
        return connect()


def connect() -> Client:
    """Return a client of the server at OLLAMA_HOST. Nothing is sent yet."""
    host = os.environ.get("OLLAMA_HOST", "")
    try:
        url = parse_host(host)
    except ValueError as error:
        raise CommandError(f"OLLAMA_HOST is no address: {error}") from error
    return Client(url, os.environ.get("OLLAMA_API_KEY", "").strip() or None)
