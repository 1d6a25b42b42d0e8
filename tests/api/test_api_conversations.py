"""The route by which the chat panel keeps its conversations."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from api_client import Fetch
from jupyter_server.auth import Authorizer
from traitlets.config import Config

from jupyter_ollama.api import conversation_files
from jupyter_ollama.api.conversation_files import MAX_BYTES, ConversationFiles, StaleError

ONE, TWO = "c0ffee00-one", "c0ffee00-two"


def conversation(name: str, revision: int, **more: Any) -> dict[str, Any]:
    return {"id": name, "revision": revision, "turns": [], **more}


def encoded(name: str, revision: int, **more: Any) -> bytes:
    return json.dumps(conversation(name, revision, **more)).encode()


async def kept(fetch: Fetch) -> list[Any]:
    """Return the conversations that the server has."""
    found: list[Any] = json.loads((await fetch("GET", "/conversations")).body)["conversations"]
    return found


async def test_conversations_are_written_listed_and_deleted(
    jupyter: Fetch, jp_data_dir: Path
) -> None:
    assert await kept(jupyter) == []
    for name in (ONE, TWO):
        response = await jupyter("PUT", f"/conversations/{name}", conversation(name, 1))
        assert (response.code, response.body) == (204, b"")
    await jupyter("PUT", f"/conversations/{ONE}", conversation(ONE, 2, title="Fish"))
    assert await kept(jupyter) == [conversation(ONE, 2, title="Fish"), conversation(TWO, 1)]
    folder = jp_data_dir / "jupyter_ollama" / "conversations"
    for path in folder.rglob("*.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for _ in range(2):
        assert (await jupyter("DELETE", f"/conversations/{ONE}")).code == 204
    assert await kept(jupyter) == [conversation(TWO, 1)]


async def test_a_page_does_not_overwrite_what_it_has_not_read(jupyter: Fetch) -> None:
    await jupyter("PUT", f"/conversations/{ONE}", conversation(ONE, 1))
    await jupyter("PUT", f"/conversations/{ONE}", conversation(ONE, 2, title="first"))
    response = await jupyter("PUT", f"/conversations/{ONE}", conversation(ONE, 2, title="second"))
    assert response.code == 409
    assert "another page" in json.loads(response.body)["message"]
    assert await kept(jupyter) == [conversation(ONE, 2, title="first")]


@pytest.mark.parametrize(
    ("name", "body", "code"),
    [
        ("..%2F..%2Fetc", conversation("x", 1), 400),
        ("..", conversation("..", 1), 400),
        ("SHOUTED-NAME", conversation("SHOUTED-NAME", 1), 400),
        ("short", conversation("short", 1), 400),
        (ONE, conversation(TWO, 1), 400),
        (ONE, {"id": ONE, "revision": True}, 400),
        (ONE, {"id": ONE}, 400),
        (ONE, [], 400),
        (ONE, b"{", 400),
        (ONE, b"", 400),
        (ONE, encoded(ONE, 1, text="a" * MAX_BYTES), 413),
    ],
)
async def test_what_is_no_conversation_is_refused(
    jupyter: Fetch, jp_data_dir: Path, name: str, body: Any, code: int
) -> None:
    assert (await jupyter("PUT", f"/conversations/{name}", body)).code == code
    assert not (jp_data_dir / "jupyter_ollama").exists()


async def test_the_route_has_no_other_methods(jupyter: Fetch) -> None:
    for method, path in (("POST", ""), ("PUT", ""), ("DELETE", ""), ("GET", f"/{ONE}")):
        assert (await jupyter(method, f"/conversations{path}", {})).code in (400, 405)


async def test_a_token_is_required(jupyter: Fetch, jupyter_url: str) -> None:
    for method, path in (("GET", ""), ("PUT", f"/{ONE}"), ("DELETE", f"/{ONE}")):
        headers = {"Authorization": "token no"}
        response = await jupyter(method, f"/conversations{path}", headers=headers)
        assert response.code == 403


class Gatekeeper(Authorizer):
    """Allows one call."""

    allowed = ("read", "ollama")

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        return (action, resource) == self.allowed


class TestRights:
    @pytest.fixture
    def jp_server_config(self, jp_server_config: Config) -> Config:
        jp_server_config.ServerApp.authorizer_class = Gatekeeper
        return jp_server_config

    async def test_who_may_run_models_has_conversations(
        self, jupyter: Fetch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Gatekeeper, "allowed", ("execute", "ollama:run"))
        assert (await jupyter("PUT", f"/conversations/{ONE}", conversation(ONE, 1))).code == 204
        assert await kept(jupyter) == [conversation(ONE, 1)]

    async def test_who_may_only_look_has_none(self, jupyter: Fetch) -> None:
        assert (await jupyter("GET", "/api/version")).code == 200
        for method, path in (("GET", ""), ("PUT", f"/{ONE}"), ("DELETE", f"/{ONE}")):
            response = await jupyter(method, f"/conversations{path}")
            assert response.code == 403
            assert "not authorized" in error_text(response.body)


def error_text(body: bytes) -> str:
    """Return the message of Jupyter's error."""
    return str(json.loads(body)["message"])


async def test_the_stand_alone_server_has_no_such_route(standalone: Fetch) -> None:
    assert (await standalone("GET", "/conversations")).code == 404


def test_users_do_not_see_each_other(tmp_path: Path) -> None:
    ConversationFiles(tmp_path, "ann").write(ONE, encoded(ONE, 1))
    assert ConversationFiles(tmp_path, "../ann").read_all() == []
    assert ConversationFiles(tmp_path, "ann").read_all() == [conversation(ONE, 1)]


def test_the_oldest_go_beyond_the_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation_files, "MAX_COUNT", 3)
    files = ConversationFiles(tmp_path, "ann")
    names = [f"conversation-{number}" for number in range(5)]
    for name in names:
        files.write(name, encoded(name, 1))
    assert [one["id"] for one in files.read_all()] == names[:1:-1]
    monkeypatch.setattr(conversation_files, "MAX_TOTAL", 2 * len(encoded(names[0], 1)))
    files.write(names[3], encoded(names[3], 2))
    assert [one["id"] for one in files.read_all()] == [names[3], names[4]]


def test_a_damaged_file_is_left_out_and_can_be_replaced(tmp_path: Path) -> None:
    files = ConversationFiles(tmp_path, "ann")
    files.write(ONE, encoded(ONE, 1))
    files.write(TWO, encoded(TWO, 1))
    [path] = tmp_path.rglob(f"{ONE}.json")
    path.write_text("{")
    assert files.read_all() == [conversation(TWO, 1)]
    files.write(ONE, encoded(ONE, 7))
    with pytest.raises(StaleError):
        files.write(ONE, encoded(ONE, 7))
    assert len(files.read_all()) == 2
