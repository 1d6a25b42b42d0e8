"""The handlers of the page: its HTML, its files, and the one stream that keeps it up to date."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from tornado import web

from ..api.endpoint import Call, Endpoint, Reply, Route, Stream
from ..api.exchange import Exchange
from ..api.jupyter import HUB_IS_AWAY, JupyterExchange
from ..api.requester import requester_of
from ..api.standalone import StandaloneExchange
from ..api.usage import RIGHTS
from .document import SECURITY, page, page_files, refusal
from .observer import Observer
from .problems import CLOSED

if TYPE_CHECKING:
    from ..config import OllamaServer

PAGE = "/page"
HTML = "text/html; charset=utf-8"
May = Callable[[str, str], Awaitable[bool]]
Handlers = list[tuple[str, type[web.RequestHandler], dict[str, Any]]]


async def changes(observer: Observer, call: Call) -> Reply | Stream:
    """Answer GET /page/changes: tables as lines of JSON, then what changes in them."""
    sees_all = await call.may(*RIGHTS["admin"])
    call.headers["Cache-Control"] = "no-store"
    call.headers["X-Accel-Buffering"] = "no"
    return observer.watch(call.requester, sees_all)


def stream_route(observer: Observer) -> Route:
    """Return the route of the stream. It belongs to the page and is not in the API's document."""
    endpoint = Endpoint(partial(changes, observer), "read", "ollama", tracked=False)
    return Route(PAGE + "/changes", {"GET": endpoint})


async def settings_of(user: str, may: May) -> dict[str, Any]:
    """Return what the scripts need to know about the user."""
    return {
        "user": user,
        "rights": {name: await may(*needed) for name, needed in RIGHTS.items()},
    }


def accepts_html(handler: web.RequestHandler) -> bool:
    """Return whether a browser asks for a page, not a client for an answer."""
    return "text/html" in handler.request.headers.get("Accept", "")


class PageStream(Exchange):
    """Sends the changes until the page is closed, which is no failure: the log has it as answered.

    Each tab that is hidden closes its stream.
    """

    def set_status(self, status_code: int, reason: str | None = None) -> None:
        """Set the status, 200 where the client has ended the stream."""
        is_closed = status_code == CLOSED
        super().set_status(200 if is_closed else status_code, None if is_closed else reason)


class JupyterPageStream(PageStream, JupyterExchange):
    """Sends the changes to users that the Jupyter server knows."""


class StandalonePageStream(PageStream, StandaloneExchange):
    """Sends the changes of a server without a login."""


class PageFile(web.RequestHandler):
    """Answer with a script or a style of the page. They are public: the refusal has them, too."""

    _tag: str | None = None

    def set_default_headers(self) -> None:
        """Set the headers of the page."""
        for name, value in SECURITY.items():
            self.set_header(name, value)

    @allow_unauthenticated
    def get(self, name: str) -> None:
        """Answer with a file, 304 if the browser has it."""
        file = page_files().get(name)
        if file is None:
            raise web.HTTPError(404)
        self.set_header("Content-Type", file.media_type)
        self.set_header("Cache-Control", "no-cache")
        self._tag = file.tag
        self.finish(file.content)

    head = get

    def compute_etag(self) -> str | None:
        """Return the tag of the file."""
        return self._tag


class JupyterPage(JupyterHandler):
    """Answer with the page, after the login of the Jupyter server or of its JupyterHub."""

    def initialize(self, server: OllamaServer) -> None:
        """Keep the server."""
        self.server = server

    @property
    def api(self) -> str:
        """The path of the API."""
        return f"{self.base_url}{self.server.url_prefix}"

    def set_default_headers(self) -> None:
        """Set the headers of the page instead of Jupyter's."""
        for name, value in (SECURITY | {"Cache-Control": "no-store"}).items():
            self.set_header(name, value)

    async def prepare(self) -> None:  # type: ignore[override]
        """Let Jupyter find the user, or redirect to the login."""
        try:
            await super().prepare()
        except web.HTTPError as error:
            if error.status_code >= 500 and hasattr(self.identity_provider, "hub_auth"):
                raise web.HTTPError(503, HUB_IS_AWAY) from error
            raise
        if self.current_user and not await self.may("read", "ollama"):
            raise web.HTTPError(403, f"{self.current_user.username} may not use this server.")

    async def may(self, action: str, resource: str) -> bool:
        """Ask the authorizer of the Jupyter server."""
        found = self.authorizer.is_authorized(self, self.current_user, action, resource)
        return bool(await ensure_async(found))

    @web.authenticated
    async def get(self) -> None:
        """Answer with the page of the user."""
        await self.answer()

    async def answer(self) -> None:
        """Send the page of the user."""
        hub_auth = getattr(self.identity_provider, "hub_auth", None)
        hub = f"{hub_auth.hub_host}{hub_auth.hub_prefix}" if hub_auth else ""
        settings = await settings_of(requester_of(self, self.current_user).name, self.may)
        settings |= {
            # Setting it makes the cookie, too.
            "xsrf": self.xsrf_token.decode(),
            "tokens": f"{hub}token" if hub else "",
            "logout": f"{self.base_url}logout" if hub else "",
        }
        self.set_header("Content-Type", HTML)
        self.finish(page(self.api, settings))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Explain a refusal, and whom to ask."""
        error = kwargs.get("exc_info", (None, None))[1]
        reason = (error.log_message or "") if isinstance(error, web.HTTPError) else ""
        self.set_header("Content-Type", HTML)
        contact = self.server.page_contact
        self.finish(refusal(self.api, status_code, reason, contact, self.request.path))


class StandalonePage(StandaloneExchange):
    """Answer with the page of a server without a login; its checks of Host and Origin apply."""

    def set_default_headers(self) -> None:
        """Set the headers of the page; pages of other origins cannot read it."""
        for name, value in (SECURITY | {"Cache-Control": "no-store"}).items():
            self.set_header(name, value)

    async def answer(self) -> None:
        """Send the page."""
        settings = await settings_of(self.requester.name, self.may)
        needs_token = bool(self.settings.get("token"))
        settings |= {"xsrf": "", "tokens": "", "logout": "", "token": needs_token}
        self.end(HTML, page("", settings))

    def _has_token(self) -> bool:
        """Open the page without the access token: it has no data, and asks for the token."""
        return True


def jupyter_page_handlers(server: OllamaServer) -> Handlers:
    """Return the routing table of the page for a Jupyter server, relative to its base URL."""
    route = stream_route(Observer(server))
    prefix = f"/{re.escape(server.url_prefix)}"
    stream = {"server": server, "route": route, "mount": server.url_prefix}
    return [
        (prefix + PAGE + "/?", JupyterPage, {"server": server}),
        (prefix + route.path + "/?", JupyterPageStream, stream),
        (prefix + PAGE + r"/([\w.-]+)", PageFile, {}),
    ]


def standalone_page_handlers(
    server: OllamaServer,
    exchange: type[Exchange] = StandalonePageStream,
    document: type[Exchange] = StandalonePage,
    observer: Observer | None = None,
) -> Handlers:
    """Return the routing table of the page for a server of our own."""
    route = stream_route(observer or Observer(server))
    html = Endpoint(_no_answer, "read", "ollama", tracked=False)
    return [
        (PAGE, document, {"server": server, "route": Route(PAGE, {"GET": html, "HEAD": html})}),
        (route.path, exchange, {"server": server, "route": route}),
        (PAGE + r"/([\w.-]+)", PageFile, {}),
    ]


async def _no_answer(call: Call) -> Reply:
    """Stand for the page in the table of rights; `StandalonePage` answers."""
    raise web.HTTPError(404)
