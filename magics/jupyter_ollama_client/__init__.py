"""A client of any server that speaks the Ollama API, for kernels, servers and command lines."""

from __future__ import annotations

from ._version import __version__
from .client import Client
from .discovery import ServerAddress, discover
from .errors import OllamaClientError, OllamaConnectionError, OllamaResponseError

__all__ = [
    "Client",
    "OllamaClientError",
    "OllamaConnectionError",
    "OllamaResponseError",
    "ServerAddress",
    "__version__",
    "discover",
]
