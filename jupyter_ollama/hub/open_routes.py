"""The answers of an endpoint to callers without a token: almost none.

Open are the index, which says that the server runs and nothing else; the Hub's logout and
oauth_callback, which are part of a login; and redirects that take slashes off. Paths that do not
exist lead to the login.
"""

from __future__ import annotations

from collections.abc import Iterator

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

HEALTHY = b"ok"
"""The body of the index, for proxies that check whether the server runs."""


class Index(web.RequestHandler):
    """Answer at the address of the service, without a login. ``/health`` reports more, to users."""

    @allow_unauthenticated
    def get(self) -> None:
        """Say that the server runs."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.finish(HEALTHY)

    head = get


class Closed(APIHandler):
    """Answer nothing: 403 without a token, 404 with one."""

    @web.authenticated
    def get(self, *arguments: str) -> None:
        """Deny that there is anything."""
        raise web.HTTPError(404)


def close_routes(application: web.Application) -> None:
    """Replace or remove the open routes of a Jupyter server that an endpoint has no use for.

    These are its index page, the version of Jupyter at ``/api``, and files.
    """
    for rules in _rules(application.default_router):
        for rule in list(rules):
            if rule.target is MainHandler:
                rule.target, rule.target_kwargs = Index, {}
            elif rule.target in (APIVersionHandler, AuthenticatedFileHandler):
                rule.target, rule.target_kwargs = Closed, {}
            elif rule.target in (FileFindHandler, PublicStaticFileHandler):
                rules.remove(rule)


def _rules(router: Router) -> Iterator[list[Rule]]:
    if isinstance(router, RuleRouter):
        yield router.rules
        for rule in router.rules:
            yield from _rules(rule.target)
