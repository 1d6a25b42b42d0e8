"""IPython magics for any server that speaks the Ollama API."""

from __future__ import annotations

from typing import Any

from ._version import __version__
from .client import Client
from .errors import OllamaClientError, OllamaConnectionError, OllamaResponseError

__all__ = [
    "Client",
    "OllamaClientError",
    "OllamaConnectionError",
    "OllamaResponseError",
    "__version__",
    "load_ipython_extension",
    "unload_ipython_extension",
]


def load_ipython_extension(shell: Any) -> None:
    """Add the magics to a shell, once."""
    from .magics import OllamaMagics

    if OllamaMagics.__name__ not in shell.magics_manager.registry:
        shell.register_magics(OllamaMagics)


def unload_ipython_extension(shell: Any) -> None:
    """Take the magics away again."""
    from .magics import OllamaMagics

    magics = shell.magics_manager.registry.get(OllamaMagics.__name__)
    if magics is not None:
        magics.unload()
