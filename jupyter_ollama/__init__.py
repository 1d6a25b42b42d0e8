"""Ollama inside Jupyter: llama.cpp models behind the Ollama API, in the notebook server."""

from ._version import __version__

__all__ = ["__version__"]
