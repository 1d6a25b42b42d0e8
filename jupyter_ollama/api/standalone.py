"""Handlers for a server of our own: no login, guarded by Ollama's Origin and Host checks."""

from __future__ import annotations

from hmac import compare_digest
from typing import Any

from ..errors import OllamaError
from .endpoint import OLLAMA, TEXT
from .exchange import Exchange
from .origins import ALLOWED_HEADERS, Hosts, Origins
from .requester import NO_TOKEN
from .responder import error_text

_METHODS = "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"
_MAX_AGE = "43200"
_UNKNOWN_HOST = (
    '"{}" is not a name of this server: set OLLAMA_ALLOWED_HOSTS (OllamaServer.allowed_hosts) '
    "to the names that it is reached by"
)


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
            self.set_header("Access-Control-Allow-Headers", ",".join(ALLOWED_HEADERS))
            self.set_header("Access-Control-Max-Age", _MAX_AGE)
            self.clear_header("Content-Type")
            self.set_status(204)
            self.finish()
        elif self.settings["check_host"] and not self._allows_host():
            if self.settings.get("names_the_setting"):
                self.fail(OllamaError(403, _UNKNOWN_HOST.format(self.request.host)))
            else:
                self._forbid()
        elif not self._has_token():
            self.fail(OllamaError(403, NO_TOKEN))
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
        """Answer; ``prepare`` has authorized the request."""
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

    def _allows_host(self) -> bool:
        hosts: Hosts = self.settings.get("hosts") or Hosts((), beyond_loopback=False)
        return hosts.allow(self.request.host)

    def _has_token(self) -> bool:
        """Return whether the request carries the access token, if there is one."""
        token: str = self.settings.get("token", "")
        headers = self.request.headers
        scheme, _, given = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            given = headers.get("X-Api-Key", "")
        return not token or compare_digest(given.strip().encode(), token.encode())

    def _forbid(self) -> None:
        self.clear_header("Content-Type")
        self.set_status(403)
        self.finish()
