"""One endpoint for all users of a JupyterHub: its rights, and its start."""

from __future__ import annotations

from .authorizer import OllamaAuthorizer

__all__ = ["OllamaAuthorizer"]
