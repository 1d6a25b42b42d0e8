"""Handlers for a Jupyter server: its login, its authorizer, its XSRF and CORS rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import APIHandler
from tornado import web

from .endpoint import Route
from .exchange import Exchange
from .origins import ALLOWED_HEADERS
from .requester import requester_of, why_refused
from .routes import ROUTES

if TYPE_CHECKING:
    from ..config import OllamaServer


_JUPYTERS = ("", "/api/status", "/api/me")
"""Paths that a Jupyter server has itself."""

HUB_IS_AWAY = "the JupyterHub does not answer, try again"


class JupyterExchange(Exchange, APIHandler):
    """Serve one route to users that the Jupyter server knows and its authorizer lets through."""

    auth_resource = "ollama"

    def initialize(self, server: OllamaServer, route: Route, mount: str) -> None:  # type: ignore[override]
        """Take the arguments of the routing table; ``mount`` is the path below the base URL."""
        super().initialize(server, route)
        self.mount = mount

    @property
    def max_json_body(self) -> int:
        """Our limit, or the one that the Jupyter server sets for its own bodies if it is lower."""
        return min(super().max_json_body, self.serverapp.max_body_size)  # type: ignore[union-attr]

    async def prepare(self) -> None:  # type: ignore[override]
        """Let Jupyter find the user, then authorize before the body is read."""
        headers = self.request.headers
        if "Authorization" not in headers and (key := headers.get("X-Api-Key")):
            # Anthropic's clients send the token here. Jupyter and its Hub read Authorization only.
            headers["Authorization"] = f"Bearer {key}"
        try:
            await super().prepare()
        except web.HTTPError as error:
            # Jupyter's errors for callers without a token name XSRF cookies, or nothing.
            if error.status_code == 403 and not self.current_user and self.check_host():
                raise web.HTTPError(403, await why_refused(self)) from None
            if error.status_code >= 500 and hasattr(self.identity_provider, "hub_auth"):
                raise web.HTTPError(503, HUB_IS_AWAY) from error
            raise
        if self.request.method == "OPTIONS":
            return
        if not self.current_user:
            raise web.HTTPError(403, await why_refused(self))
        if self.redirects_to_clean_path():
            return
        endpoint = self.endpoint()
        self._track_activity = endpoint.tracked
        if not await self.may(endpoint.action, endpoint.resource):
            raise web.HTTPError(
                403, f"user is not authorized to {endpoint.action} on {endpoint.resource}"
            )
        self.requester = requester_of(self, self.current_user)
        self.accept()

    async def may(self, action: str, resource: str) -> bool:
        """Ask the authorizer of the Jupyter server."""
        user = self.current_user
        is_authorized = self.authorizer.is_authorized(self, user, action, resource)
        return bool(await ensure_async(is_authorized))

    def touch(self) -> None:
        """Count the request as activity, so that a culler does not end the server."""
        self.update_api_activity()

    def end(self, content_type: str, body: bytes | None = None) -> None:
        """Finish the answer with its own content type instead of Jupyter's."""
        self._watch_end(self.finish(body, set_content_type=content_type), body)

    @web.authenticated
    async def get(self, *arguments: str) -> None:
        """Answer; ``prepare`` has authorized the request."""
        await self.answer()

    head = post = put = patch = delete = get

    @allow_unauthenticated
    def options(self, *arguments: str) -> None:
        """Answer preflights as Jupyter does, with all headers that this API accepts."""
        super().options(*arguments)
        if "Access-Control-Allow-Headers" not in self.settings.get("headers", {}):
            jupyters = self._headers["Access-Control-Allow-Headers"]
            more = (name.lower() for name in ALLOWED_HEADERS)
            names = dict.fromkeys([*re.split(r",\s*", jupyters.lower()), *more])
            self.set_header("Access-Control-Allow-Headers", ", ".join(names))


def jupyter_handlers(
    server: OllamaServer, exchange: type[JupyterExchange] = JupyterExchange
) -> list[tuple[str, type[Exchange], dict[str, Any]]]:
    """Return the routing table for a Jupyter server, paths relative to its base URL.

    Extensions precede Jupyter's own routes, so bare paths are listed one by one.
    """
    mounts = [(server.url_prefix, route.path + "/?", route) for route in ROUTES]
    if server.mount_root:
        bare = [route for route in ROUTES if route.path not in _JUPYTERS]
        mounts += [("", route.path + "/?", route) for route in bare]
    mounts.append((server.url_prefix, "/.*", Route("/.*", {})))
    return [
        (
            (f"/{re.escape(mount)}" if mount else "") + path,
            exchange,
            {"server": server, "route": route, "mount": mount},
        )
        for mount, path, route in mounts
    ]
