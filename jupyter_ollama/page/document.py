"""The HTML of the page: a frame without data, which the scripts fill."""

from __future__ import annotations

import hashlib
import json
import mimetypes
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import Any, NamedTuple

from .clients import CLIENTS

SECURITY = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of the page and its files. The page runs its own scripts only, and nothing frames it."""

HOW_TO_ASK = "the administrators of this Hub"


class File(NamedTuple):
    """A script or a style of the page."""

    content: bytes
    media_type: str
    tag: str


@cache
def page_files() -> dict[str, File]:
    """Return the files that the page loads, by name."""
    found = {}
    for one in files(__package__).joinpath("static").iterdir():
        if one.name.endswith((".js", ".css", ".svg")):
            content = one.read_bytes()
            kind = mimetypes.guess_type(one.name)[0] or "application/octet-stream"
            kind = "text/javascript" if one.name.endswith(".js") else kind
            digest = hashlib.sha256(content).hexdigest()[:16]
            found[one.name] = File(content, f"{kind}; charset=utf-8", f'"{digest}"')
    return found


@cache
def _template(name: str) -> Template:
    return Template(files(__package__).joinpath("static", name).read_text("utf-8"))


def page(base: str, settings: dict[str, Any]) -> bytes:
    """Return the page. ``base`` is the path of the API, ``settings`` are for the scripts."""
    settings = settings | {"base": base, "clients": CLIENTS}
    return _filled("page.html", base, settings=json.dumps(settings), user=settings["user"])


def refusal(base: str, status: int, reason: str, contact: str, again: str) -> bytes:
    """Return the page for a request that is refused; ``again`` is the path to try again."""
    title = {403: "You have no access", 503: "The JupyterHub does not answer"}.get(status)
    return _filled(
        "refusal.html",
        base,
        title=title or f"Error {status}",
        reason=reason,
        contact=contact or HOW_TO_ASK,
        again=again,
    )


def _filled(name: str, base: str, **texts: str) -> bytes:
    given = {key: escape(text, quote=True) for key, text in texts.items()}
    return _template(name).substitute(given, base=escape(base, quote=True)).encode()
