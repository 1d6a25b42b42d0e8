"""The answers of an endpoint to callers without a token: almost none.

Open are the index, which says that the server runs and nothing else, and leads browsers to the
login; the scripts and styles of the page; the Hub's logout and oauth_callback, which are part of a
login; and redirects that take slashes off. Paths that do not exist lead to the login.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import (
    APIHandler,
    APIVersionHandler,
    AuthenticatedFileHandler,
    FileFindHandler,
    MainHandler,
    PublicStaticFileHandler,
)
from tornado import web
from tornado.routing import Router, Rule, RuleRouter

from ..page.handlers import JupyterPage, accepts_html

if TYPE_CHECKING:
    from ..config import OllamaServer

HEALTHY = b"ok"
"""The body of the index, for proxies that check whether the server runs."""


class Index(JupyterPage):
    """Answer at the address of the service: browsers get the page, others learn that it runs.

    ``/health`` reports more, to users.
    """

    async def prepare(self) -> None:  # type: ignore[override]
        """Let browsers log in. Proxies that check the server need no login and name any host."""
        if accepts_html(self):
            await super().prepare()

    @allow_unauthenticated
    async def get(self) -> None:
        """Answer with the page, or say that the server runs."""
        if not accepts_html(self):
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish(HEALTHY)
        elif self.current_user:
            await self.answer()
        else:
            self.redirect(self.get_login_url())

    head = get


class Closed(APIHandler):
    """Answer nothing: 403 without a token, 404 with one."""

    @web.authenticated
    def get(self, *arguments: str) -> None:
        """Deny that there is anything."""
        raise web.HTTPError(404)


def close_routes(application: web.Application, server: OllamaServer) -> None:
    """Replace or remove the open routes of a Jupyter server that an endpoint has no use for.

    These are its index page, the version of Jupyter at ``/api``, and files.
    """
    for rules in _rules(application.default_router):
        for rule in list(rules):
            if rule.target is MainHandler:
                rule.target, rule.target_kwargs = Index, {"server": server}
            elif rule.target in (APIVersionHandler, AuthenticatedFileHandler):
                rule.target, rule.target_kwargs = Closed, {}
            elif rule.target in (FileFindHandler, PublicStaticFileHandler):
                rules.remove(rule)


def _rules(router: Router) -> Iterator[list[Rule]]:
    if isinstance(router, RuleRouter):
        yield router.rules
        for rule in router.rules:
            yield from _rules(rule.target)
