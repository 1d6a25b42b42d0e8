"""The sender of a request, the same for all requests of a user with any login of Jupyter."""

from __future__ import annotations

import json
from typing import Any

import pytest
from api_client import Fetch
from jupyter_server.auth.identity import IdentityProvider, User
from traitlets.config import Config

from jupyter_ollama.api import routes
from jupyter_ollama.api.endpoint import Call, Endpoint, Reply, Route
from jupyter_ollama.api.requester import OWNER, Requester


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Requester]:
    """The senders of the requests for /api/who."""
    found: list[Requester] = []

    async def who(call: Call) -> Reply:
        found.append(call.requester)
        return Reply({})

    route = Route("/api/who", {"GET": Endpoint(who, "read", "ollama")})
    both = (route, *routes.ROUTES)
    monkeypatch.setattr("jupyter_ollama.api.jupyter.ROUTES", both)
    monkeypatch.setattr("jupyter_ollama.api.listener.ROUTES", both)
    return found


async def test_a_personal_server_has_one_user(seen: list[Requester], either: Fetch) -> None:
    await either("GET", "/api/who")
    await either("GET", "/api/who")
    assert seen == [OWNER, OWNER]


class HubLogin(IdentityProvider):
    """Knows alice as JupyterHub does."""

    async def get_user(self, handler: Any) -> User:
        handler._token_authenticated = True
        user = User(username="alice")
        user.hub_user = {"groups": ["students"]}  # type: ignore[attr-defined]
        return user


class TestHub:
    @pytest.fixture
    def jp_server_config(self, jp_server_config: Config) -> Config:
        jp_server_config.ServerApp.identity_provider_class = HubLogin
        return jp_server_config

    async def test_a_hub_names_users_and_groups(
        self, seen: list[Requester], jupyter: Fetch
    ) -> None:
        response = await jupyter("GET", "/api/who")
        assert json.loads(response.body) == {}
        assert seen == [Requester("alice", ("students",))]
