"""Hostile manifests, and pulls that never contact a registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from peers import FaultyRegistry, digest_of
from pulling import Puller
from store_models import store_files

from jupyter_ollama._version import OLLAMA_API_VERSION
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library import manifest

Make = Callable[..., Puller]

GOOD = b"good layer"
MODEL = manifest.MODEL
DIGEST = digest_of(GOOD)


def layer(digest: str = DIGEST, size: Any = 10, kind: str = MODEL) -> Any:
    return {"mediaType": kind, "digest": digest, "size": size}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": [layer(), layer("sha256:../../../../etc/passwd")]}, "invalid digest format"),
        ({"layers": [layer(), layer("../../../evil")]}, "invalid digest format"),
        ({"layers": [layer(), layer("sha256:" + "0" * 63 + "/")]}, "invalid digest format"),
        ({"config": layer("sha512:" + "0" * 128)}, "invalid digest format"),
        ({"layers": [layer(size=-1)]}, "invalid manifest: size -1"),
        ({"layers": [layer(), layer(size=11)]}, "invalid manifest: size 11"),
        ({"layers": [layer(size=2**62)]}, "no space left on device"),
        ({"layers": [layer(size=2**200)]}, "no space left on device"),
        ({"layers": [layer(size="10")]}, "invalid manifest"),
        ({"layers": [layer(size=9.5)]}, "invalid manifest"),
        ({"layers": {"0": layer()}}, "invalid manifest"),
        ({"layers": [], "config": layer("")}, "invalid manifest: it names no layers"),
        ({"layers": [layer(kind="application/vnd.ollama.image.tensor")]}, "requires MLX support"),
        ({"padding": "x" * 5 * 2**20}, "more than 4194304 bytes"),
    ],
)
def test_manifest_is_refused_before_anything_is_fetched(
    registry: FaultyRegistry, puller: Make, changes: dict[str, Any], message: str
) -> None:
    registry.publish("me/evil", GOOD, **changes)
    one = puller()
    with pytest.raises(OllamaError, match=message) as caught:
        one.pull(f"{registry.host}/me/evil")
    assert caught.value.message.startswith("pull model manifest: ")
    assert store_files(one.store) == {}
    assert not [path for _, path, _ in registry.requests if "/blobs/" in path]


@pytest.mark.parametrize("data", [b"", b"{", b"null", b"[]", b"\xff" * 100, b'"text"', b"<html>"])
def test_invalid_manifests(registry: FaultyRegistry, puller: Make, data: bytes) -> None:
    registry.publish_bytes("me/evil", data)
    one = puller()
    with pytest.raises(OllamaError, match="pull model manifest: invalid manifest"):
        one.pull(f"{registry.host}/me/evil")
    assert store_files(one.store) == {}


def test_a_layer_named_twice_is_fetched_once(registry: FaultyRegistry, puller: Make) -> None:
    upper = digest_of(GOOD).replace(digest_of(GOOD)[7:], digest_of(GOOD)[7:].upper())
    registry.publish("me/twice", GOOD, layers=[layer(), layer(), layer(upper)])
    one = puller()
    lines = one.pull(f"{registry.host}/me/twice")
    assert lines[-1] == {"status": "success"}
    assert len(registry.asked_for(digest_of(GOOD))) == 1
    assert len({line["digest"] for line in lines if "digest" in line}) == 2


def test_wrong_size_of_an_existing_blob_does_not_damage_it(
    registry: FaultyRegistry, puller: Make
) -> None:
    registry.publish("me/evil", GOOD, layers=[layer(size=3)])
    one = puller()
    one.store.add_blob(GOOD)
    before = store_files(one.store)
    with pytest.raises(OllamaError, match="bytes, its manifest says 3"):
        one.pull(f"{registry.host}/me/evil")
    assert store_files(one.store) == before


def test_manifest_is_stored_as_it_came(registry: FaultyRegistry, puller: Make) -> None:
    data = json.dumps(json.loads(registry.publish("me/odd", GOOD)), indent=7).encode()
    registry.publish_bytes("me/odd", data)
    one = puller()
    one.pull(f"{registry.host}/me/odd")
    assert f"manifests/{registry.host}/me/odd/latest" in store_files(one.store)
    assert store_files(one.store)[f"manifests/{registry.host}/me/odd/latest"] == data


def test_plain_http_only_where_it_is_allowed(registry: FaultyRegistry, puller: Make) -> None:
    registry.publish("me/tiny", GOOD)
    one = puller()
    with pytest.raises(OllamaError, match=r"^insecure protocol http$"):
        one.pull(f"http://{registry.host}/me/tiny", insecure=False)
    assert not registry.requests
    assert one.pull(f"http://{registry.host}/me/tiny")[-1] == {"status": "success"}


def test_offline_sends_no_request(registry: FaultyRegistry, puller: Make) -> None:
    registry.publish("me/tiny", GOOD)
    name = f"{registry.host}/me/tiny"
    offline = puller(offline=True)
    for transfer in (offline.pull, offline.push):
        with pytest.raises(OllamaError, match="this server is offline") as caught:
            transfer(name)
        assert caught.value.status == 403
    assert not registry.requests
    puller(offline.store).pull(name)
    asked = len(registry.requests)
    assert offline.pull(name) == [{"status": "success"}]
    assert len(registry.requests) == asked


def test_the_user_agent_names_ollama(registry: FaultyRegistry, puller: Make) -> None:
    registry.publish("user/repo:Q4_K_M", GOOD)
    one = puller(mirrors={"models.invalid": f"http://{registry.host}"})
    one.pull("models.invalid/user/repo:Q4_K_M", insecure=False)
    for method, _, headers in registry.requests:
        assert method == "GET"
        assert headers["User-Agent"].startswith(f"ollama/{OLLAMA_API_VERSION} (")
    _, path, headers = registry.requests[0]
    assert path == "/v2/user/repo/manifests/Q4_K_M"
    assert headers["Accept"] == manifest.MANIFEST
    assert "manifests/models.invalid/user/repo/Q4_K_M" in store_files(one.store)
