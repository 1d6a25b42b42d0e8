"""IPython magics for any server that speaks the Ollama API."""

from ._version import __version__

__all__ = ["__version__"]
