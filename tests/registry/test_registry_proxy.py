"""Registries behind the proxy that the environment names."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from peers import FaultyRegistry, serving
from pulling import Puller
from tornado import web

Make = Callable[..., Puller]


class Proxy(web.RequestHandler):
    """Answers requests for another host with the contents of a registry."""

    def initialize(self, content: FaultyRegistry) -> None:
        self.content = content

    def get(self, path: str) -> None:
        self.content.requests.append(("GET", path, {}))
        blob = self.content.blobs.get(path.rpartition("/")[2])
        self.finish(self.content.manifests.get(path) or blob or b"")


def test_proxy_of_the_environment(
    registry: FaultyRegistry, puller: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = FaultyRegistry()
    content.publish("me/tiny", b"weights")
    registry.publish("me/near", b"weights")
    with serving([("http://registry.invalid(/.*)", Proxy, {"content": content})]) as host:
        monkeypatch.setenv("HTTP_PROXY", f"http://{host}")
        one = puller()
        assert one.pull("registry.invalid/me/tiny")[-1] == {"status": "success"}
        assert len(content.requests) == 3
        # Servers on this host are never requested through a proxy.
        assert one.pull(f"{registry.host}/me/near")[-1] == {"status": "success"}
        assert len(content.requests) == 3
