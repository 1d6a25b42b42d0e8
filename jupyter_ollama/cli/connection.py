"""The server of the client commands, from OLLAMA_HOST and OLLAMA_API_KEY as in Ollama's CLI."""

from __future__ import annotations

import logging
import os
from functools import cached_property

from jupyter_ollama_client.addresses import parse_host
from jupyter_ollama_client.client import Client

from .command import Command, CommandError


class ClientCommand(Command):
    """A command that sends requests to a server."""

    def _log_level_default(self) -> int:
        return logging.WARNING

    @cached_property
    def client(self) -> Client:
        """The client of the server that the environment names."""
        return connect()

    def start(self) -> None:
        """Run the command and close its connections."""
        try:
            super().start()
        finally:
            if "client" in vars(self):
                self.client.close()


def connect() -> Client:
    """Return a client of the server at OLLAMA_HOST. Nothing is sent yet."""
    host = os.environ.get("OLLAMA_HOST", "")
    try:
        url = parse_host(host)
    except ValueError as error:
        raise CommandError(f"OLLAMA_HOST is not an address: {error}") from error
    return Client(url, os.environ.get("OLLAMA_API_KEY", "").strip() or None)
