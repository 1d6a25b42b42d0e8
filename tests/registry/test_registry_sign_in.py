"""Tokens for signed requests, as Ollama's registries issue them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from peers import FaultyRegistry, faulty_registry
from pulling import Puller
from tornado import web

from jupyter_ollama.errors import OllamaError

Make = Callable[..., Puller]


class Desk:
    """The settings of a token server, and the requests it received."""

    def __init__(self) -> None:
        self.realm = "http://HOST/token?app=1"
        self.keys: list[str] = []
        self.queries: list[dict[str, list[str]]] = []
        self.answer: Any = {"token": "let-me-in"}
        self.status = 200


class Token(web.RequestHandler):
    def initialize(self, desk: Desk) -> None:
        self.desk = desk

    def get(self) -> None:
        proof = self.request.headers["Authorization"]
        if not proof.startswith("Basic "):
            self.desk.keys.append(self.checked(proof))
        arguments = self.request.query_arguments
        self.desk.queries.append(
            {name: [value.decode() for value in values] for name, values in arguments.items()}
        )
        self.set_status(self.desk.status)
        self.finish(self.desk.answer)

    def checked(self, proof: str) -> str:
        """Verify the signature and return the public key."""
        public, _, signature = proof.partition(":")
        key = load_ssh_public_key(f"ssh-ed25519 {public}".encode())
        assert isinstance(key, Ed25519PublicKey)
        body = base64.b64encode(hashlib.sha256(b"").hexdigest().encode()).decode()
        signed = f"GET,{self.request.full_url()},{body}".encode()
        try:
            key.verify(base64.b64decode(signature), signed)
        except InvalidSignature:
            raise web.HTTPError(403) from None
        return public


class Guard(web.RequestHandler):
    """Requires a token before the registry answers."""

    def initialize(self, desk: Desk, target: Callable[[], FaultyRegistry]) -> None:
        self.desk = desk
        self.target = target

    def get(self) -> None:
        if self.request.headers.get("Authorization") == "Bearer let-me-in":
            self.redirect(f"/open{self.request.path}", status=307)
            return
        self.set_status(401)
        realm = self.desk.realm.replace("HOST", self.request.host)
        self.set_header(
            "WWW-Authenticate",
            f'Bearer realm="{realm}",service="a registry",scope="repository:me/tiny:pull x"',
        )


class Open(web.RequestHandler):
    def initialize(self, registry: FaultyRegistry) -> None:
        self.registry = registry

    def get(self, path: str) -> None:
        self.finish(self.registry.manifests.get(path) or self.registry.blobs[path.split("/")[-1]])


@pytest.fixture
def desk() -> Desk:
    """A token server."""
    return Desk()


@pytest.fixture
def guarded(desk: Desk) -> Iterator[FaultyRegistry]:
    """A registry with a model that requires tokens."""
    content = FaultyRegistry()
    content.publish("me/tiny", b"secret weights")
    handlers = [
        ("/token", Token, {"desk": desk}),
        ("/v2/.*", Guard, {"desk": desk, "target": lambda: content}),
        ("/open(/.*)", Open, {"registry": content}),
    ]
    with faulty_registry(handlers) as registry:
        yield registry


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a key."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_key_is_made_once_and_signs(
    guarded: FaultyRegistry, desk: Desk, home: Path, puller: Make
) -> None:
    for _ in range(2):
        assert puller().pull(f"{guarded.host}/me/tiny")[-1] == {"status": "success"}
    assert len(set(desk.keys)) == 1
    secret, public = home / ".ollama/id_ed25519", home / ".ollama/id_ed25519.pub"
    assert secret.read_text().startswith("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    assert secret.stat().st_mode & 0o777 == 0o600
    assert public.read_text() == f"ssh-ed25519 {desk.keys[0]}\n"
    assert sorted(path.name for path in secret.parent.iterdir()) == [secret.name, public.name]
    query = desk.queries[0]
    assert query["service"] == ["a registry"]
    assert query["scope"] == ["repository:me/tiny:pull", "x"]
    assert query["app"] == ["1"]
    assert query["ts"][0].isdecimal()
    nonces = [query["nonce"][0] for query in desk.queries]
    assert len(set(nonces)) == len(nonces)


def test_login_takes_the_place_of_the_key(
    guarded: FaultyRegistry, desk: Desk, home: Path, puller: Make
) -> None:
    puller(logins={guarded.host: "a:b"}).pull(f"{guarded.host}/me/tiny")
    assert desk.queries
    assert desk.keys == []
    assert not (home / ".ollama").exists()


@pytest.mark.parametrize(
    ("realm", "message"),
    [
        ("http://127.0.0.1:1/token", 'realm host "127.0.0.1:1" does not match original host'),
        ("https://HOST/token", "does not match original host"),
        ("", "does not match original host"),
        ("http://[", "does not match original host"),
    ],
)
def test_proof_is_for_the_registry_alone(
    guarded: FaultyRegistry, desk: Desk, home: Path, puller: Make, realm: str, message: str
) -> None:
    desk.realm = realm
    with pytest.raises(OllamaError, match=message):
        puller().pull(f"{guarded.host}/me/tiny")
    assert not (home / ".ollama").exists()


@pytest.mark.parametrize("answer", ["[]", "{}", '{"token": "wrong"}', '{"token": "a\\r\\nX: y"}'])
def test_tokens_that_do_not_help(
    guarded: FaultyRegistry, desk: Desk, home: Path, puller: Make, answer: str
) -> None:
    desk.answer = answer
    with pytest.raises(OllamaError, match="unauthorized: access denied"):
        puller().pull(f"{guarded.host}/me/tiny")


@pytest.mark.parametrize("status", [400, 503])
def test_an_error_of_the_token_server_is_reported(
    guarded: FaultyRegistry, desk: Desk, home: Path, puller: Make, status: int
) -> None:
    desk.status, desk.answer = status, "no tokens today"
    with pytest.raises(OllamaError, match=f"{status}: no tokens today"):
        puller().pull(f"{guarded.host}/me/tiny")


@pytest.mark.parametrize("content", [b"", b"no key"])
def test_broken_key(guarded: FaultyRegistry, home: Path, puller: Make, content: bytes) -> None:
    key = home / ".ollama/id_ed25519"
    key.parent.mkdir()
    key.write_bytes(content)
    with pytest.raises(OllamaError, match="cannot read the key"):
        puller().pull(f"{guarded.host}/me/tiny")
    assert key.read_bytes() == content
