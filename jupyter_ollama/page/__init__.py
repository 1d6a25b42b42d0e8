"""The page of a shared server, for its users and its administrators."""

from __future__ import annotations

from .handlers import jupyter_page_handlers, standalone_page_handlers

__all__ = ["jupyter_page_handlers", "standalone_page_handlers"]
