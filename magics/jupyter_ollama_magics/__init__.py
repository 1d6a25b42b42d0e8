"""IPython magics for any server that speaks the Ollama API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_ollama_client import (
    Client,
    OllamaClientError,
    OllamaConnectionError,
    OllamaResponseError,
    ServerAddress,
    __version__,
)

if TYPE_CHECKING:
    from .duckdb_rows import duckdb_functions

__all__ = [
    "Client",
    "OllamaClientError",
    "OllamaConnectionError",
    "OllamaResponseError",
    "ServerAddress",
    "__version__",
    "duckdb_functions",
    "endpoint",
    "load_ipython_extension",
    "unload_ipython_extension",
]


def endpoint() -> ServerAddress:
    """Return the server of the magics, with its address and token, for other clients.

    Returns
    -------
    ServerAddress
        With ``url``, ``token`` and ``headers``.

    Raises
    ------
    ValueError
        If a setting is not an address.

    Examples
    --------
    >>> import jupyter_ollama_magics
    >>> jupyter_ollama_magics.endpoint().url == url
    True
    """
    from .servers import Servers

    return Servers.find().connections[0].address


def __getattr__(name: str) -> Any:
    # The operators import pandas.
    if name != "duckdb_functions":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .duckdb_rows import duckdb_functions

    return duckdb_functions


def load_ipython_extension(shell: Any) -> None:
    """Add the magics to a shell, once, and ``.ollama`` to pandas as soon as it is imported."""
    from . import pandas_hook
    from .magics import OllamaMagics

    pandas_hook.install()

    if OllamaMagics.__name__ not in shell.magics_manager.registry:
        shell.register_magics(OllamaMagics)


def unload_ipython_extension(shell: Any) -> None:
    """Remove the magics; ``.ollama`` of pandas stays."""
    from . import pandas_hook
    from .magics import OllamaMagics

    pandas_hook.remove()
    magics = shell.magics_manager.registry.get(OllamaMagics.__name__)
    if magics is not None:
        magics.unload()
