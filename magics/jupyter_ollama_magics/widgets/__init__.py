"""Widgets for notebooks: a chat, the models of a server, and the progress of a pull.

They use the server of the magics from a thread of their own, so cells run meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .chat import Chat
    from .models import ModelManager
    from .pull import PullProgress

__all__ = ["Chat", "ModelManager", "PullProgress"]

_MODULES = {"Chat": "chat", "ModelManager": "models", "PullProgress": "pull"}


def __getattr__(name: str) -> Any:
    """Import a widget at its first use: ipywidgets is slow to import."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
