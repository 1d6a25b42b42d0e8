"""The error of templates."""

from __future__ import annotations


class TemplateError(ValueError):
    """A template that cannot be parsed, refuses a conversation or breaks a limit."""
