"""Handlers for a Jupyter server: its login, its authorizer, its XSRF and CORS rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jupyter_core.utils import ensure_async
from jupyter_server.base.handlers import APIHandler
from tornado import web

from .endpoint import Route
from .exchange import Exchange
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
        """Keep what Tornado passes; ``mount`` is where the route is below the base URL."""
        super().initialize(server, route)
        self.mount = mount

    @property
    def max_json_body(self) -> int:  # type: ignore[override]
        """The limit that the Jupyter server sets for its own bodies."""
        return self.serverapp.max_body_size  # type: ignore[union-attr]

    async def prepare(self) -> None:  # type: ignore[override]
        """Let Jupyter find the user, then decide before any of the body is taken."""
        headers = self.request.headers
        if "Authorization" not in headers and (key := headers.get("X-Api-Key")):
            # Where Anthropic's clients put the token. Jupyter and its Hub look here alone.
            headers["Authorization"] = f"Bearer {key}"
        try:
            await super().prepare()
        except web.HTTPError as error:
            # To callers without a token Jupyter speaks of XSRF cookies, or says nothing.
            if error.status_code == 403 and not self.current_user and self.check_host():
                raise web.HTTPError(403, await why_refused(self)) from None
            if error.status_code >= 500 and hasattr(self.identity_provider, "hub_auth"):
                raise web.HTTPError(503, HUB_IS_AWAY) from error
            raise
        if self.request.method == "OPTIONS":
            return
        if not self.current_user:
            raise web.HTTPError(403, await why_refused(self))
        endpoint = self.endpoint()
        self._track_activity = endpoint.tracked
        allowed = await ensure_async(
            self.authorizer.is_authorized(
                self, self.current_user, endpoint.action, endpoint.resource
            )
        )
        if not allowed:
            raise web.HTTPError(
                403, f"user is not authorized to {endpoint.action} on {endpoint.resource}"
            )
        self.requester = requester_of(self, self.current_user)
        self.accept()

    def touch(self) -> None:
        """Count what runs as activity, so that a culler does not end it."""
        self.update_api_activity()

    def end(self, content_type: str, body: bytes | None = None) -> None:
        """Finish the answer with its own content type in place of Jupyter's."""
        self.finish(body, set_content_type=content_type)

    @web.authenticated
    async def get(self, *arguments: str) -> None:
        """Answer; ``prepare`` has checked all there is to check."""
        await self.answer()

    head = post = put = patch = delete = get


def jupyter_handlers(server: OllamaServer) -> list[tuple[str, type[Exchange], dict[str, Any]]]:
    """Return the routing table for a Jupyter server, paths relative to its base URL.

    Extensions come before Jupyter's own routes, so the bare paths are named one by one.
    """
    exchange: type[JupyterExchange] = JupyterExchange
    if server.remote_url:
        from .remote import RemoteExchange

        exchange = RemoteExchange
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
