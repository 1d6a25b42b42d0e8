"""Handlers for a server of our own: no login, guarded by Ollama's Origin and Host checks."""

from __future__ import annotations

from typing import Any

from .endpoint import OLLAMA, TEXT
from .exchange import Exchange, error_text
from .origins import Origins, is_local_host

_METHODS = "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"
_STAINLESS = (
    "arch async custom-poll-interval helper-method lang os package-version poll-helper "
    "retry-count runtime runtime-version timeout"
)
_HEADERS = ",".join(
    ["Authorization", "Content-Type", "User-Agent", "Accept", "X-Requested-With", "OpenAI-Beta"]
    + ["X-Api-Key", "Anthropic-Version", "Anthropic-Beta", "X-Request-Id", "X-Ollama-Priority"]
    + ["Anthropic-Dangerous-Direct-Browser-Access"]
    + [f"X-Stainless-{name.title()}" for name in _STAINLESS.split()]
)
_MAX_AGE = "43200"


class StandaloneExchange(Exchange):
    """Serve one route as Ollama's own server would."""

    def set_default_headers(self) -> None:
        """Let the page of an allowed origin read the answer, errors too."""
        origin = self._foreign_origin()
        if origin and self._origins.allow(origin):
            self.set_header("Access-Control-Allow-Origin", "*" if self._origins.all else origin)
            if not self._origins.all:
                self.set_header("Vary", "Origin")

    def prepare(self) -> None:
        """Turn away foreign pages and rebound domains, answer preflights, then accept."""
        origin = self._foreign_origin()
        if origin and not self._origins.allow(origin):
            self._forbid()
        elif origin and self.request.method == "OPTIONS":
            self.set_header("Access-Control-Allow-Methods", _METHODS)
            self.set_header("Access-Control-Allow-Headers", _HEADERS)
            self.set_header("Access-Control-Max-Age", _MAX_AGE)
            self.clear_header("Content-Type")
            self.set_status(204)
            self.finish()
        elif self.settings["check_host"] and not is_local_host(self.request.host):
            self._forbid()
        else:
            self.accept()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer unknown paths and methods in plain text as Ollama's router does."""
        if status_code not in (404, 405) or self.route.dialect is not OLLAMA:
            super().write_error(status_code, **kwargs)
            return
        if status_code == 405:
            self.set_header("Allow", ", ".join(self.route.methods))
        self.end(TEXT, error_text(status_code).encode())

    async def get(self, *arguments: str) -> None:
        """Answer; ``prepare`` has checked all there is to check."""
        await self.answer()

    head = post = put = patch = delete = options = get

    @property
    def _origins(self) -> Origins:
        origins: Origins = self.settings["origins"]
        return origins

    def _foreign_origin(self) -> str:
        """Return the Origin header, or "" where it is missing or names this very server."""
        origin = self.request.headers.get("Origin", "")
        host = self.request.headers.get("Host", "")
        return "" if origin in (f"http://{host}", f"https://{host}") else origin

    def _forbid(self) -> None:
        self.clear_header("Content-Type")
        self.set_status(403)
        self.finish()
