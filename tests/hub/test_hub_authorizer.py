"""The rights of users in a Jupyter server that has all its usual routes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jupyter_server.auth.identity import IdentityProvider, User
from traitlets.config import Config

from jupyter_ollama.hub import OllamaAuthorizer
from jupyter_ollama.hub.authorizer import NEEDED, Right


class HubUser(User):
    """A user with their data from a JupyterHub."""

    def __init__(self, **hub_user: Any) -> None:
        super().__init__(username="alice")
        self.hub_user = hub_user


class AlwaysAlice(IdentityProvider):
    """Takes every caller for alice."""

    async def get_user(self, handler: Any) -> User:
        handler._token_authenticated = True
        return HubUser(groups=["members"], admin=True)


@pytest.fixture
def jp_server_config(tmp_path: Any) -> Config:
    return Config(
        {
            "ServerApp": {
                "jpserver_extensions": {"jupyter_ollama": True, "jupyter_server_terminals": True},
                "identity_provider_class": AlwaysAlice,
                "authorizer_class": OllamaAuthorizer,
            },
            "OllamaServer": {"models_dir": str(tmp_path / "models")},
        }
    )


ROUTES = [
    ("GET", "api/contents"),
    ("POST", "api/contents"),
    ("GET", "api/contents/x/checkpoints"),
    ("GET", "files/x"),
    ("GET", "api/kernels"),
    ("POST", "api/kernels"),
    ("DELETE", "api/kernels/00000000-0000-0000-0000-000000000000"),
    ("GET", "api/kernelspecs"),
    ("GET", "api/sessions"),
    ("POST", "api/sessions"),
    ("GET", "api/terminals"),
    ("POST", "api/terminals"),
    ("GET", "api/config/x"),
    ("GET", "api/status"),
    ("POST", "api/shutdown"),
    ("GET", "nbconvert/html/x.ipynb"),
]


async def test_even_an_administrator_gets_at_nothing_but_the_api(
    jp_fetch: Any, jp_serverapp: Any
) -> None:
    for method, path in ROUTES:
        answer = await jp_fetch(
            path,
            method=method,
            raise_error=False,
            allow_nonstandard_methods=True,
        )
        assert answer.code == 403, (method, path, answer.code)
    assert (await jp_fetch("ollama/api/tags")).code == 200
    assert not jp_serverapp.kernel_manager.list_kernels()


@pytest.mark.parametrize(
    ("hub_user", "right"),
    [
        ({}, Right.READ),
        ({"groups": ["others"]}, Right.READ),
        ({"groups": ["members"]}, Right.RUN),
        ({"groups": ["members", "staff"]}, Right.MANAGE),
        ({"scopes": ["custom:ollama:manage", "access:services"]}, Right.MANAGE),
        ({"groups": ["custom:ollama:admin"]}, Right.READ),
        ({"scopes": ["staff"]}, Right.READ),
        ({"scopes": ["custom:ollama:admin"]}, Right.ADMIN),
        ({"admin": True}, Right.ADMIN),
    ],
)
def test_groups_and_scopes_give_rights(hub_user: dict[str, Any], right: Right) -> None:
    authorizer = OllamaAuthorizer(may_run=["members"], may_manage=["staff", "custom:ollama:manage"])
    user = HubUser(**hub_user)
    allowed = {
        resource
        for resource in [*NEEDED, "kernels", "contents", "terminals", "server", ""]
        if authorizer.is_authorized(None, user, "write", resource)
    }
    assert allowed == {resource for resource, needed in NEEDED.items() if needed <= right}


def test_all_users_with_access_may_run_models_by_default() -> None:
    assert OllamaAuthorizer().right_of(HubUser(groups=[])) is Right.RUN


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if "JUPYTERHUB" not in name}
    kept["PATH"] = f"{Path(sys.executable).parent}:{kept['PATH']}"
    return subprocess.run(
        command, env=kept | environment, capture_output=True, text=True, timeout=60
    )


def test_a_service_that_opens_kernels_does_not_start(tmp_path: Any) -> None:
    done = run(
        "jupyter-server",
        "--ServerApp.jpserver_extensions={'jupyter_ollama': True}",
        "--ServerApp.allow_root=True",
        "--ServerApp.port=0",
        "--no-browser",
        JUPYTERHUB_SERVICE_NAME="ollama",
        JUPYTER_CONFIG_DIR=str(tmp_path),
    )
    assert done.returncode == 1
    assert "must not open kernels, files and terminals to its users" in done.stderr


def test_the_launcher_names_the_missing_parts() -> None:
    done = run("jupyter-ollama", "hub")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "Error: JUPYTERHUB_API_TOKEN and JUPYTERHUB_API_URL and JUPYTERHUB_SERVICE_URL not set."
    )


def test_the_launcher_insists_on_its_authorizer(tmp_path: Any) -> None:
    done = run(
        "jupyter-ollama",
        "hub",
        "--hub-api=http://127.0.0.1:9/hub/api",
        "--listen=127.0.0.1:0",
        "--ServerApp.authorizer_class=jupyter_server.auth.AllowAllAuthorizer",
        JUPYTERHUB_API_TOKEN="secret",
        JUPYTER_CONFIG_DIR=str(tmp_path),
    )
    assert done.returncode == 1
    assert "must not open kernels" in done.stderr
