"""Registries that redirect to hosts of the private network: only public addresses are followed."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from peers import FaultyRegistry, digest_of, faulty_registry, redirected, serving
from pulling import QUICK, Puller
from store_models import store_files
from tornado import web
from traitlets import TraitError

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library import manifest
from jupyter_ollama.library.manifest import Layer, Manifest
from jupyter_ollama.library.name import ModelName
from jupyter_ollama.registry.client import Repository
from jupyter_ollama.registry.credentials import Credentials
from jupyter_ollama.registry.redirects import RedirectClients
from jupyter_ollama.web import guard as guarding

Make = Callable[..., Puller]
WEIGHTS = os.urandom(100_000)
DIGEST = digest_of(WEIGHTS)
INSIDE = "127.0.0.2"


@pytest.fixture
def inside() -> Iterator[FaultyRegistry]:
    """A server at another address than the registry's, which must not be requested."""
    with faulty_registry(address=INSIDE) as server:
        server.blobs[DIGEST] = WEIGHTS
        yield server


@pytest.fixture
def name(registry: FaultyRegistry) -> str:
    registry.publish("me/tiny", WEIGHTS)
    return f"{registry.host}/me/tiny"


def test_a_pull_is_not_sent_inside(
    registry: FaultyRegistry, name: str, puller: Make, inside: FaultyRegistry
) -> None:
    port = inside.host.partition(":")[2]
    one = puller()
    for host in (
        *(INSIDE, "127.2", "0x7f.0.0.2", "[::ffff:127.0.0.2]", "[64:ff9b::127.0.0.2]", "[::1]"),
        *("0.0.0.0", "169.254.169.254", "metadata.google.internal", "10.0.0.1", "[fd00:ec2::254]"),
    ):
        url = f"http://{host}:{port}/v2/x/y/blobs/{DIGEST}"
        registry.always = redirected(lambda handler, url=url: url)
        with pytest.raises(OllamaError, match="whose address is not public") as caught:
            one.pull(name)
        assert "OllamaServer.registry_allowed_addresses can allow it" in caught.value.message
    assert inside.requests == []
    assert store_files(one.store) == {}


def test_a_pull_is_sent_where_settings_allow(
    registry: FaultyRegistry, name: str, puller: Make, inside: FaultyRegistry
) -> None:
    inside.blobs |= registry.blobs
    registry.always = redirected(lambda handler: f"http://{inside.host}{handler.request.uri}")
    one = puller(allowed=[f"{INSIDE}/31"])
    one.pull(name)
    assert one.store.blob_path(DIGEST).read_bytes() == WEIGHTS
    assert inside.asked_for(DIGEST)[0]["Host"] == inside.host


def test_the_address_that_was_checked_is_asked_under_the_name(
    registry: FaultyRegistry,
    name: str,
    puller: Make,
    inside: FaultyRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = socket.getaddrinfo
    answers = ["127.0.0.1"]  # the second resolution of the name would yield a private address

    def look_up(host: Any, port: Any, *arguments: Any, **more: Any) -> Any:
        if host == "cdn.invalid":
            host = answers.pop() if answers else INSIDE
        return real(host, port, *arguments, **more)

    monkeypatch.setattr(guarding.socket, "getaddrinfo", look_up)
    with faulty_registry() as cdn:
        cdn.blobs = registry.blobs
        port = cdn.host.partition(":")[2]
        registry.publish("me/small", b"x")
        where = f"http://cdn.invalid:{port}"
        registry.faults.append(redirected(lambda handler: f"{where}{handler.request.uri}"))
        puller().pull(f"{registry.host}/me/small")
        assert [headers["Host"] for _, _, headers in cdn.requests] == [f"cdn.invalid:{port}"]
        registry.publish("me/other", b"y")
        registry.faults.append(redirected(lambda handler: f"{where}{handler.request.uri}"))
        with pytest.raises(OllamaError, match="not public"):
            puller().pull(f"{registry.host}/me/other")
    assert inside.requests == []


class Hostile(web.RequestHandler):
    """A registry that redirects to ``to`` at one step of a push."""

    step = ""
    to = ""

    def prepare(self) -> None:
        part = self.request.path.rpartition("/")[2]
        method = self.request.method
        here = f"http://{self.request.host}/v2/me/tiny/blobs/uploads/{part}"
        if method == "HEAD":
            if self.step == "head":
                self.redirect(f"{self.to}/head", status=307)
            else:
                self.set_status(404)
                self.finish()
            return
        where = self.to if self.step == method else here
        self.set_status(201 if method == "PUT" else 202)
        self.set_header("Location", where + ("/x" if part == "" else ""))
        if self.step == "docker":
            self.set_header("Docker-Upload-Location", f"{self.to}/docker")
        if self.step == "307" and method == "PATCH":
            self.set_status(307)
            self.set_header("Location", f"{self.to}/part")
            self.set_header("Docker-Upload-Location", here)
        self.finish()


@contextmanager
def pushing(puller: Make, **settings: Any) -> Iterator[Callable[[], Any]]:
    """Yield a function that pushes to the hostile registry."""
    with serving([(".*", Hostile)]) as host:
        one = puller(policy=QUICK._replace(request_tries=1), logins={host: "a:b"}, **settings)
        blob, config = one.store.add_blob(WEIGHTS), one.store.add_blob(b"{}")
        layers = [Layer(manifest.MODEL, blob.digest, blob.size)]
        made = Manifest(config=Layer(manifest.CONFIG, config.digest, config.size), layers=layers)
        one.store.write_manifest(ModelName.parse(f"{host}/me/tiny"), made)
        yield lambda: one.push(f"{host}/me/tiny")


@pytest.mark.parametrize("step", ["head", "POST", "docker", "PATCH", "307"])
@pytest.mark.parametrize("host", [INSIDE, "169.254.169.254", "localhost.localdomain"])
def test_a_push_is_not_sent_inside(
    puller: Make, inside: FaultyRegistry, monkeypatch: pytest.MonkeyPatch, step: str, host: str
) -> None:
    port = inside.host.partition(":")[2]
    real = socket.getaddrinfo

    def look_up(host: Any, *arguments: Any, **more: Any) -> Any:
        known = {"localhost.localdomain": INSIDE}
        return real(known.get(host, host), *arguments, **more)

    monkeypatch.setattr(guarding.socket, "getaddrinfo", look_up)
    monkeypatch.setattr(Hostile, "step", step)
    monkeypatch.setattr(Hostile, "to", f"http://{host}:{port}/")
    with pushing(puller) as push, pytest.raises(OllamaError, match="not public"):
        push()
    assert inside.requests == []


@pytest.mark.parametrize("step", ["POST", "docker", "PATCH", "307"])
@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://127.0.0.2/", "http://x:port/"])
def test_a_push_follows_web_addresses_only(
    puller: Make, monkeypatch: pytest.MonkeyPatch, step: str, url: str
) -> None:
    monkeypatch.setattr(Hostile, "step", step)
    monkeypatch.setattr(Hostile, "to", url)
    with pushing(puller) as push, pytest.raises(OllamaError) as caught:
        push()
    assert "no web address" in caught.value.message or "faulty address" in caught.value.message


@pytest.mark.parametrize("location", ["http://cdn.example/x", "HTTP://cdn.example/x", "http:/x"])
def test_encryption_is_not_given_up(location: str) -> None:
    made = ModelName.parse("registry.example/me/tiny")
    repository = Repository(made, False, {}, Credentials({}, Path("none")), QUICK)
    answer = httpx2.Response(307, extensions={"asked": "https://registry.example/v2/x"})
    with pytest.raises(OllamaError, match=r"insecure address|no web address"):
        repository.located(answer, location)
    assert repository.located(answer, "/x?y=z") == "https://registry.example/x?y=z"
    assert repository.located(answer, "//cdn.example/x") == "https://cdn.example/x"
    insecure = Repository(made, True, {}, Credentials({}, Path("none")), QUICK)
    assert insecure.located(
        httpx2.Response(307, extensions={"asked": "http://registry.example/"}),
        "http://cdn.example/",
    )
    with pytest.raises(OllamaError, match="insecure address"):
        insecure.located(answer, "http://cdn.example/x")


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "100.100.100.200:80", "metadata.google.internal"]
)
def test_metadata_services_are_no_registries(puller: Make, host: str) -> None:
    with pytest.raises(OllamaError, match="is not a registry"):
        puller().pull(f"{host}/latest/meta-data")


async def test_a_proxy_is_asked_for_names_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Proxy(web.RequestHandler):
        asked: list[str] = []

        def prepare(self) -> None:
            self.asked.append(self.request.uri or "")
            self.finish("x")

    with serving([(".*", Proxy)]) as host:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://{host}")
        monkeypatch.setenv("no_proxy", "inside.invalid")
        clients = RedirectClients("http://r.invalid", [], httpx2.create_ssl_context(), True)
        answer = await clients.send("GET", "http://cdn.invalid/a", {})
        assert (await answer.aread(), Proxy.asked) == (b"x", ["http://cdn.invalid/a"])
        for url in (
            *("http://169.254.169.254/", "http://127.0.0.1/", "http://localhost/", "http://[::1]/"),
            *("http://metadata.google.internal/", "http://2130706433/", "http://a.localhost./"),
        ):
            with pytest.raises(OllamaError, match="not public"):
                await clients.send("GET", url, {})
        with pytest.raises(httpx2.ConnectError, match="cannot find the address"):
            await clients.send("GET", "http://inside.invalid/", {})
        await clients.close()
    assert len(Proxy.asked) == 1


def test_addresses_are_checked_when_they_are_set() -> None:
    with pytest.raises(TraitError, match="registry_allowed_addresses"):
        OllamaServer(registry_allowed_addresses=["storage.example"])
    server = OllamaServer(registry_allowed_addresses=["10.1.0.0/16"])
    assert server.transfers._allowed == ("10.1.0.0/16",)
