"""The answers of a Hub's endpoint to callers without a token."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jupyter_server
from cli_process import free_port
from peers import serving
from tornado import web

PREFIX = "/services/ollama"
OPEN = {
    "Index": {200},
    "JupyterHubLogoutHandler": {302},
    "JupyterHubOAuthCallbackHandler": {400},
    "TrailingSlashHandler": {302},
    # Scripts and styles of the page, which have no data; a name that no file has is none.
    "PageFile": {404, 405},
    # To the login of the Hub: the page, unknown paths, and other methods than GET.
    "JupyterPage": {302},
    "Template404": {302},
    "PrometheusMetricsHandler": {302},
}
"""Handlers that answer without a token, and how."""


class Hub(web.RequestHandler):
    """A Hub without users."""

    def get(self) -> None:
        if self.request.path.rstrip("/") == "/hub/api":
            self.write({"version": "5.5.1"})
        else:
            self.set_status(404)
            self.write({"status": 404, "message": "Not Found"})

    post = get


def test_every_route_wants_a_token(tmp_path: Path) -> None:
    with serving([(".*", Hub)]) as hub:
        kept = {name: text for name, text in os.environ.items() if "JUPYTERHUB" not in name}
        environment = {
            "JUPYTERHUB_API_TOKEN": "secret-of-the-service",
            "JUPYTERHUB_API_URL": f"http://{hub}/hub/api",
            "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{free_port()}",
            "JUPYTERHUB_SERVICE_NAME": "ollama",
            "JUPYTERHUB_SERVICE_PREFIX": f"{PREFIX}/",
            "JUPYTERHUB_CLIENT_ID": "service-ollama",
            "JUPYTERHUB_BASE_URL": "/",
            "OLLAMA_MODELS": str(tmp_path / "models"),
            "JUPYTER_CONFIG_DIR": str(tmp_path),
        }
        done = subprocess.run(
            [sys.executable, Path(__file__).with_name("walk_routes.py")],
            env=kept | environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=90,
        )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    handlers = {handler for _, handler, *_ in answers}
    assert {"JupyterExchange", "Index", "Closed", "PrometheusMetricsHandler"} <= handlers
    assert (
        not {"MainHandler", "APIVersionHandler", "FileFindHandler", "PublicStaticFileHandler"}
        & handlers
    )
    assert len([1 for _, handler, *_ in answers if handler == "JupyterExchange"]) > 250
    for pattern, handler, method, code, body in answers:
        where = f"{method} {pattern} ({handler}): {code} {body[:200]!r}"
        assert "secret-of-the-service" not in body, where
        assert jupyter_server.__version__ not in body, where
        assert code in OPEN.get(handler, set()) | {403, 405}, where
        assert handler != "JupyterExchange" or code == 403, where
        if handler == "Index" and method == "GET":
            assert (pattern, body) == (f"{PREFIX}/$", "ok")
