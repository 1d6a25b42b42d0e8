"""IPython magics for any server that speaks the Ollama API."""

from __future__ import annotations

from typing import Any

from ._version import __version__
from .client import Client
from .discovery import Endpoint
from .errors import OllamaClientError, OllamaConnectionError, OllamaResponseError

__all__ = [
    "Client",
    "Endpoint",
    "OllamaClientError",
    "OllamaConnectionError",
    "OllamaResponseError",
    "__version__",
    "endpoint",
    "load_ipython_extension",
    "unload_ipython_extension",
]


def endpoint() -> Endpoint:
    """Return the server of the magics, with its address and token, for other clients."""
    from .servers import Servers

    return Servers.find().connections[0].endpoint


def load_ipython_extension(shell: Any) -> None:
    """Add the magics to a shell, once, and ``.ollama`` to pandas as soon as it is imported."""
    from . import pandas_hook
    from .magics import OllamaMagics

    pandas_hook.install()

    if OllamaMagics.__name__ not in shell.magics_manager.registry:
        shell.register_magics(OllamaMagics)


def unload_ipython_extension(shell: Any) -> None:
    """Take the magics away again. What pandas has, it keeps."""
    from . import pandas_hook
    from .magics import OllamaMagics

    pandas_hook.remove()
    magics = shell.magics_manager.registry.get(OllamaMagics.__name__)
    if magics is not None:
        magics.unload()
