"""Ollama inside Jupyter: llama.cpp models behind the Ollama API, in the notebook server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["__version__", "load_ipython_extension", "unload_ipython_extension"]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Return the extension for Jupyter. Imports are inside functions to keep this module cheap."""
    from .extension import OllamaExtension

    return [{"module": "jupyter_ollama", "app": OllamaExtension}]


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Return the folder of the built JupyterLab extension for `jupyter-builder develop`."""
    return [{"src": "labextension", "dest": "jupyter-ollama"}]


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """Load the magics: ``%load_ext jupyter_ollama``."""
    from jupyter_ollama_magics import load_ipython_extension as load

    load(ipython)


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """Unload the magics: ``%unload_ext jupyter_ollama``."""
    from jupyter_ollama_magics import unload_ipython_extension as unload

    unload(ipython)
