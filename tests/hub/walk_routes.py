"""Start the endpoint as `jupyter ollama hub` does; print what routes answer without a token."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

from tornado.httpclient import AsyncHTTPClient
from tornado.ioloop import IOLoop
from tornado.routing import RuleRouter

from jupyter_ollama.hub.server import HubServer, make

SAMPLES = {
    r"([A-Za-z0-9_.:-]+)": "x",
    r"([^/]+)": "x",
    r"([\w.-]+)": "x",
    "(.+?)": "x",
    "(.*)": "x",
    ".*": "x",
    r"(robots\.txt|favicon\.ico)": "robots.txt",
    r"(robots\.txt)": "robots.txt",
    r"(favicon\.ico)": "favicon.ico",
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def routes(router: Any) -> Iterator[tuple[str, str]]:
    """Yield the pattern of each route and the name of its handler."""
    for rule in router.rules:
        if isinstance(rule.target, RuleRouter):
            yield from routes(rule.target)
        else:
            yield rule.matcher.regex.pattern, rule.target.__name__


def example(pattern: str) -> str:
    """Return a path that a pattern matches."""
    path = pattern.removesuffix("$").removesuffix("/?")
    for part, text in SAMPLES.items():
        path = path.replace(part, text)
    path = path.replace("\\", "").replace("?", "")
    assert re.fullmatch(pattern.removesuffix("$"), path), (pattern, path)
    return path if path.startswith("/") else f"/{path}"


async def walk(app: HubServer) -> None:
    """Ask every route and print the answers, then end."""
    port = app.http_server and next(iter(app.http_server._sockets.values())).getsockname()[1]
    client = AsyncHTTPClient()
    found = []
    for pattern, handler in routes(app.web_app.default_router):
        for method in METHODS:
            answer = await client.fetch(
                f"http://127.0.0.1:{port}{example(pattern)}",
                method=method,
                body=b"{}" if method[0] == "P" else None,
                follow_redirects=False,
                raise_error=False,
                allow_nonstandard_methods=True,
            )
            body = (answer.body or b"").decode(errors="replace")
            found.append((pattern, handler, method, answer.code, body[:2000]))
    sys.stdout.write(json.dumps(found) + "\n")


def main() -> None:
    app = make(["--allow-root", "--ServerApp.port_retries=5"])

    async def walk_and_stop() -> None:
        try:
            await walk(app)
        finally:
            app.stop()

    IOLoop.current().add_callback(walk_and_stop)
    app.start()


if __name__ == "__main__":
    main()
