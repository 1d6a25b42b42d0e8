"""IPython magics for any server that speaks the Ollama API."""

from __future__ import annotations

from pathlib import Path
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
    from .search.index import SearchIndex
    from .submitted.job import Job

__all__ = [
    "Client",
    "Job",
    "OllamaClientError",
    "OllamaConnectionError",
    "OllamaResponseError",
    "ServerAddress",
    "__version__",
    "duckdb_functions",
    "endpoint",
    "load_ipython_extension",
    "open_index",
    "similarity",
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


def open_index(path: str | Path) -> SearchIndex:
    """Open an index of ``df.ollama.index`` that another kernel has made.

    Parameters
    ----------
    path : str or Path
        The DuckDB file.

    Returns
    -------
    SearchIndex
        The index, with its rows.

    Raises
    ------
    OllamaMagicsError
        If there is no such file, or it has no index.

    Examples
    --------
    >>> import pandas as pd, jupyter_ollama_magics
    >>> notes = pd.DataFrame({"text": ["A cat sleeps", "Stocks fell"]})
    >>> _ = notes.ollama.index("text", path="notes.duckdb", model="all-minilm")
    >>> index = jupyter_ollama_magics.open_index("notes.duckdb")
    >>> index.search("kitten", k=1)["text"].tolist()
    ['A cat sleeps']
    """
    from .search.opening import opened

    return opened(path)


def similarity(a: str, b: str, model: str | None = None) -> float:
    """Return the cosine similarity of two texts, from -1 to 1.

    Parameters
    ----------
    a, b : str
        The texts.
    model : str, optional
        The embedding model; by default the one of ``%ollama use``, else the only one on the
        server.

    Returns
    -------
    float
        The similarity.

    Raises
    ------
    OllamaMagicsError
        If one is no text, or no server or model is found.

    Examples
    --------
    >>> from jupyter_ollama_magics import similarity
    >>> similarity("A cat sleeps", "The cat is sleeping", "all-minilm") > 0.8
    True
    """
    import pandas as pd

    from . import accessor

    rows = accessor.SeriesRows(pd.Series([a]))
    return float(rows.similarity([b], model).iloc[0])


def __getattr__(name: str) -> Any:
    # These import pandas.
    if name == "duckdb_functions":
        from .duckdb_rows import duckdb_functions

        return duckdb_functions
    if name == "Job":
        from . import accessor  # noqa: F401 - adds .ollama, by which a job reads its answers
        from .submitted.job import Job

        return Job
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
