"""Models for newer Ollamas: refused by a registry, or by us after reading their config."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest
from peers import FaultyRegistry, digest_of, status
from pulling import Puller
from store_models import store_files

from jupyter_ollama._version import OLLAMA_API_VERSION, __version__
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library import manifest
from jupyter_ollama.library.manifest import ImageConfig, Manifest
from jupyter_ollama.library.name import ModelName

Make = Callable[..., Puller]

WEIGHTS = os.urandom(200_000)
SAID = (
    "\n\nThe model you are attempting to pull requires a newer version of Ollama.\n\n"
    "Please download the latest version at:\n\n\thttps://ollama.com/download\n\n"
)


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (SAID, ["requires a newer Ollama", "requires a newer version of Ollama. Please download"]),
        ("needs v0.77.0-rc1", ["requires Ollama 0.77.0-rc1", '"needs v0.77.0-rc1"']),
        (
            '{"errors":[{"code":"X","message":"Upgrade to 0.99.2\\nplease"},{"code":"Y"}]}',
            ["requires Ollama 0.99.2", 'says: "Upgrade to 0.99.2 please"'],
        ),
        ('{"errors":"none"}', ["requires a newer Ollama", '"none"']),
    ],
)
def test_a_refused_pull_names_the_required_and_our_version(
    registry: FaultyRegistry, puller: Make, body: str, parts: list[str]
) -> None:
    registry.publish("me/new", WEIGHTS)
    registry.manifest_faults.append(status(412, body))
    one = puller()
    with pytest.raises(OllamaError) as caught:
        one.pull(f"{registry.host}/me/new")
    message = caught.value.message
    assert message.startswith("pull model manifest: 412: ")
    for part in (*parts, f"Ollama {OLLAMA_API_VERSION}", f"jupyter-ollama {__version__}"):
        assert part in message
    assert "\n" not in message
    assert len(registry.requests) == 1
    assert store_files(one.store) == {}


def test_a_model_that_requires_a_newer_ollama_is_not_downloaded(
    registry: FaultyRegistry, puller: Make
) -> None:
    registry.publish("me/new", WEIGHTS, described={"requires": "0.1000.0-rc1"})
    one = puller()
    with pytest.raises(OllamaError) as caught:
        one.pull(f"{registry.host}/me/new")
    for part in ("me/new:latest' requires Ollama 0.1000.0-rc1 or newer", OLLAMA_API_VERSION):
        assert part in caught.value.message
    assert registry.asked_for(digest_of(WEIGHTS)) == []
    assert store_files(one.store) == {}


@pytest.mark.parametrize("requires", [OLLAMA_API_VERSION, f"v{OLLAMA_API_VERSION}-rc3", "", "soon"])
def test_a_model_that_requires_no_newer_ollama_is_pulled(
    registry: FaultyRegistry, puller: Make, requires: str
) -> None:
    registry.publish("me/new", WEIGHTS, described={"requires": requires})
    one = puller()
    lines = one.pull(f"{registry.host}/me/new")
    assert lines[-1] == {"status": "success"}
    digests = [line["digest"] for line in lines if "digest" in line]
    assert digests[0] == digest_of(WEIGHTS)  # in the order of the manifest
    assert len(set(digests)) == 2


def test_a_config_that_cannot_be_read_is_stored_all_the_same(
    registry: FaultyRegistry, puller: Make
) -> None:
    data = registry.publish("me/odd", WEIGHTS, described={"requires": ["a", "list"]})
    one = puller()
    assert one.pull(f"{registry.host}/me/odd")[-1] == {"status": "success"}
    assert store_files(one.store)[f"manifests/{registry.host}/me/odd/latest"] == data


def test_unknown_fields_pass_a_registry_byte_by_byte(docker: str, puller: Make) -> None:
    here, there = puller(), puller()
    weights = here.store.add_blob(WEIGHTS)
    config = here.store.add_blob(
        b'{"skills": ["a"], "model_format":"gguf","requires":"0.20.0","draft":{"depth":1}}\n'
    )
    layer = {"mediaType": manifest.MODEL, "digest": weights.digest, "size": weights.size}
    image = {"mediaType": manifest.CONFIG, "digest": config.digest, "size": config.size}
    data = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": manifest.MANIFEST,
            "config": image,
            "layers": [layer | {"annotations": {"a": "b"}, "from": "x"}],
            "annotations": {"made": "elsewhere"},
        },
        indent=1,
    ).encode()
    name = ModelName.parse(f"{docker}/me/fields")
    here.store.write_manifest(ModelName.parse("mine"), Manifest.from_json(data), data)
    here.store.copy(ModelName.parse("mine"), name)
    here.push(name.display)
    there.pull(name.display)
    assert there.store.read_manifest_bytes(name) == data
    stored = there.store.blob_path(config.digest).read_bytes()
    assert ImageConfig.from_json(stored).others == {"skills": b'["a"]'}
