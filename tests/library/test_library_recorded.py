"""Stores written by a real Ollama, and stores of ours for it: names, manifests, configs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from store_models import create_model
from tiny_gguf import write_gguf

from jupyter_ollama.api.model_views import show, tag
from jupyter_ollama.library.library import Library
from jupyter_ollama.library.name import ModelName
from jupyter_ollama.library.store import Store

MEDIA = "application/vnd.ollama.image."
DOCKER = "application/vnd.docker."
LICENCE = "LLAMA 3.2 COMMUNITY LICENSE AGREEMENT\nVersion: September 25, 2024"
TEMPLATE = (
    "{{ range .Messages }}{{ .Role }}: {{ .Content }}{{ end }}{{ if .Tools }}{{ .Tools }}{{ end }}"
)
PARAMS = '{"stop":["\\u003c|start_header_id|\\u003e","\\u003c|eot_id|\\u003e"]}'

# Configs of models of the library, of hf.co and of a user, as registries serve them: with the
# digests of the layers, and with the field order of Docker's image format.
CONFIGS: dict[str, str] = {
    "registry.ollama.ai/library/llama3.2/1b": (
        '{"model_format":"gguf","model_family":"llama","model_families":["llama"],'
        '"model_type":"1.2B","file_type":"Q8_0","architecture":"amd64","os":"linux",'
        '"rootfs":{"type":"layers","diff_ids":%s}}'
    ),
    "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF/Q4_K_M": (
        '{"model_format":"gguf","model_family":"llama","model_families":["llama"],'
        '"model_type":"1.24B","file_type":"Q4_K_M","architecture":"amd64","os":"linux",'
        '"rootfs":{"type":"layers","diff_ids":%s}}'
    ),
    "registry.ollama.ai/someone/reviewer/latest": (
        '{"model_format":"gguf","model_family":"llama","model_families":null,'
        '"model_type":"134.52M","file_type":"F16","renderer":"","parser":"","architecture":"amd64",'
        '"os":"linux","rootfs":{"type":"layers","diff_ids":%s},"history":null}'
    ),
}
EXTRA = {
    "registry.ollama.ai/library/llama3.2/1b": [
        ("template", TEMPLATE),
        ("license", LICENCE),
        ("params", PARAMS),
    ],
    "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF/Q4_K_M": [("template", TEMPLATE)],
    "registry.ollama.ai/someone/reviewer/latest": [
        ("system", "You review code."),
        ("messages", '[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"}]'),
    ],
}


def put(store: Store, content: bytes) -> tuple[str, int]:
    """Write a blob as Ollama does: directly, without our mark."""
    digest = hashlib.sha256(content).hexdigest()
    (store.blobs / f"sha256-{digest}").write_bytes(content)
    return f"sha256:{digest}", len(content)


def layer(media_type: str, blob: tuple[str, int], **more: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": blob[0], "size": blob[1], **more}


@pytest.fixture
def recorded(store: Store, tmp_path: Path) -> Store:
    """A store with a model of each registry."""
    weights = put(store, write_gguf(tmp_path / "w.gguf", llama__context_length=64).read_bytes())
    for path, config in CONFIGS.items():
        more = {"from": "/home/someone/w.gguf"} if "someone" in path else {}
        layers = [layer(f"{MEDIA}model", weights, **more)]
        layers += [layer(MEDIA + kind, put(store, text.encode())) for kind, text in EXTRA[path]]
        content = config % json.dumps([one["digest"] for one in layers]).replace(" ", "")
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{DOCKER}distribution.manifest.v2+json",
            "config": layer(f"{DOCKER}container.image.v1+json", put(store, content.encode())),
            "layers": layers,
        }
        file = store.manifests / path
        file.parent.mkdir(parents=True)
        # hf.co indents its manifests, which must be kept byte for byte.
        file.write_text(json.dumps(manifest, indent=2 if "hf.co" in path else None))
    return store


def test_names_digests_sizes_and_details(recorded: Store) -> None:
    tags = {entry["name"]: entry for entry in map(tag, Library(recorded).list())}
    assert sorted(tags) == [
        "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M",
        "llama3.2:1b",
        "someone/reviewer:latest",
    ]
    for path in CONFIGS:
        file = recorded.manifests / path
        name = ModelName(*Path(path).parts).display
        manifest = json.loads(file.read_bytes())
        assert tags[name]["digest"] == hashlib.sha256(file.read_bytes()).hexdigest()
        sizes = [one["size"] for one in (*manifest["layers"], manifest["config"])]
        assert tags[name]["size"] == sum(sizes)
    assert tags["llama3.2:1b"]["details"] == {
        "parent_model": "",
        "format": "gguf",
        "family": "llama",
        "families": ["llama"],
        "parameter_size": "1.2B",
        "quantization_level": "Q8_0",
        "context_length": 64,
    }
    reviewer = tags["someone/reviewer:latest"]["details"]
    assert (reviewer["parent_model"], reviewer["families"]) == ("/home/someone/w.gguf", None)
    assert "tools" in tags["llama3.2:1b"]["capabilities"]


def test_show(recorded: Store) -> None:
    library = Library(recorded)
    llama = show(library.find("llama3.2:1b"))
    assert llama["license"] == LICENCE
    assert llama["template"] == TEMPLATE
    assert llama["parameters"].splitlines() == [
        'stop                           "<|start_header_id|>"',
        'stop                           "<|eot_id|>"',
    ]
    assert llama["model_info"]["llama.context_length"] == 64
    reviewer = show(library.find("Someone/Reviewer"))
    assert reviewer["system"] == "You review code."
    assert [message["role"] for message in reviewer["messages"]] == ["user", "assistant"]
    assert reviewer["details"]["parameter_size"] == "134.52M"


def test_a_copied_manifest_of_ollama_is_kept_byte_for_byte(recorded: Store) -> None:
    library = Library(recorded)
    source = "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M"
    library.copy(source, "mine")
    kept = recorded.read_manifest_bytes(ModelName.parse("mine"))
    assert kept == recorded.read_manifest_bytes(ModelName.parse(source))
    library.delete("mine")
    assert library.find(source).has_weights


def test_written_manifests_have_the_fields_that_ollama_reads(recorded: Store) -> None:
    library = Library(recorded)
    body: dict[str, Any] = {"model": "me/built", "from": "llama3.2:1b", "system": "Be brief."}
    create_model(library, **body, parameters={"temperature": 0.5})
    file = recorded.manifests / "registry.ollama.ai/me/built/latest"
    manifest = json.loads(file.read_bytes())
    assert list(manifest) == ["schemaVersion", "mediaType", "config", "layers"]
    assert manifest["schemaVersion"] == 2
    assert manifest["mediaType"] == f"{DOCKER}distribution.manifest.v2+json"
    assert manifest["config"]["mediaType"] == f"{DOCKER}container.image.v1+json"
    kinds = [one["mediaType"].removeprefix(MEDIA) for one in manifest["layers"]]
    assert sorted(kinds) == ["license", "model", "params", "system", "template"]
    for one in (*manifest["layers"], manifest["config"]):
        assert set(one) <= {"mediaType", "digest", "size", "from", "name"}
        content = (recorded.blobs / one["digest"].replace(":", "-")).read_bytes()
        assert one["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert one["size"] == len(content)
    assert manifest["layers"][kinds.index("model")]["from"] == "llama3.2:1b"
    config = json.loads(recorded.blob_path(manifest["config"]["digest"]).read_bytes())
    assert list(config) == [
        "model_format",
        "model_family",
        "model_families",
        "model_type",
        "file_type",
        "architecture",
        "os",
    ]
    assert (config["model_format"], config["model_family"]) == ("gguf", "llama")
    assert (config["architecture"], config["os"]) == ("amd64", "linux")
    params = recorded.blob_path(manifest["layers"][kinds.index("params")]["digest"]).read_bytes()
    assert json.loads(params) == {
        "stop": ["<|start_header_id|>", "<|eot_id|>"],
        "temperature": 0.5,
    }
