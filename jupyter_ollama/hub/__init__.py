"""One endpoint for all users of a JupyterHub: who may do what, and how it is started."""

from __future__ import annotations

from .authorizer import OllamaAuthorizer

__all__ = ["OllamaAuthorizer"]
