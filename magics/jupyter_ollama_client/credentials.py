"""Tokens and passwords in addresses and requests, hidden from the outputs of notebooks."""

from __future__ import annotations

import base64
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit


class Hidden(str):
    """A text that a notebook must not show: its ``repr`` is the ``repr`` of ``shown``.

    ``str()`` and formats give the text itself.
    """

    shown: str

    def __new__(cls, text: str, shown: str = "…") -> Self:
        """Hide ``text``."""
        made = super().__new__(cls, text)
        made.shown = shown
        return made

    def __repr__(self) -> str:
        return repr(self.shown)


def hidden(token: str | None) -> Hidden | None:
    """Return a token with a ``repr`` that hides it, None for an empty one."""
    return Hidden(token) if token else None


def hidden_in(url: str) -> str:
    """Return an address with a ``repr`` that hides its password or token."""
    bare, credentials = split_credentials(url)
    shown = bare.replace("://", "://…@", 1) if credentials else bare
    if token_in(url):
        shown = shown.partition("?")[0] + "?token=…"
    return url if shown == url else Hidden(url, shown=shown)


def split_credentials(url: str) -> tuple[str, Hidden | None]:
    """Return an address without "user:password@", and the decoded user and password, if any."""
    try:
        parts = urlsplit(url)
    except ValueError:  # the error of connecting names it
        return url, None
    found, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None
    user, _, password = found.partition(":")
    return urlunsplit(parts._replace(netloc=host)), Hidden(f"{unquote(user)}:{unquote(password)}")


def token_in(url: str) -> str:
    """Return the token in the query of an address, as Jupyter servers print it, "" without one."""
    return parse_qs(url.partition("?")[2]).get("token", [""])[0]


def authorization(token: str | None, credentials: str | None) -> dict[str, str]:
    """Return the header that a request carries. A user and a password go before a token."""
    if credentials:
        encoded = base64.b64encode(credentials.encode()).decode()
        return {"Authorization": Hidden(f"Basic {encoded}")}
    return {"Authorization": Hidden(f"Bearer {token}")} if token else {}
