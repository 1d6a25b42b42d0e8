"""Manifests and configs byte for byte as Ollama writes them."""

from __future__ import annotations

import pytest

from jupyter_ollama.library.manifest import (
    ImageConfig,
    InvalidManifest,
    Layer,
    Manifest,
    encode_json,
)

OLLAMA_MANIFEST = (
    b'{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",'
    b'"config":{"mediaType":"application/vnd.docker.container.image.v1+json",'
    b'"digest":"sha256:4f659a1e86d7f5a33c389f7991e7224b7ee6ad0358b53437d54c02d2e1b1118d","size":485},'
    b'"layers":[{"mediaType":"application/vnd.ollama.image.model",'
    b'"digest":"sha256:74701a8c35f6c8d9a4b91f3f3497643001d63e0c7a84e085bed452548fa88d45",'
    b'"size":1321082688,"from":"llama3.2:1b"},'
    b'{"mediaType":"application/vnd.ollama.image.template",'
    b'"digest":"sha256:966de95ca8a62200913e3f8bfbf84c8494536f1b94b49166851e76644e966396","size":1429},'
    b'{"mediaType":"application/vnd.ollama.image.license",'
    b'"digest":"sha256:fcc5a6bec9daf9b561a68827b67ab6088e1dba9d1fa2a50d7bbcc8384e0a265d","size":7711},'
    b'{"mediaType":"application/vnd.ollama.image.params",'
    b'"digest":"sha256:56bb8bd477a519ffa694fc449c2413c6f0e1d3b1c88fa7e3c9d88d3ae49d4dcb","size":96}]}\n'
)
OLLAMA_CONFIG = (
    b'{"model_format":"gguf","model_family":"llama","model_families":["llama"],'
    b'"model_type":"1.2B","file_type":"Q8_0","renderer":"r","parser":"p",'
    b'"architecture":"amd64","os":"linux"}\n'
)


def test_manifest_of_ollama_is_read_and_written_alike() -> None:
    manifest = Manifest.from_json(OLLAMA_MANIFEST)
    assert manifest.layers[0].from_ == "llama3.2:1b"
    assert manifest.size == 485 + 1321082688 + 1429 + 7711 + 96
    assert len(manifest.digests) == 5
    assert manifest.to_json() == OLLAMA_MANIFEST


def test_config_of_ollama_is_read_and_written_alike() -> None:
    assert ImageConfig.from_json(OLLAMA_CONFIG).to_json() == OLLAMA_CONFIG


def test_config_keeps_its_first_fields_when_empty() -> None:
    assert ImageConfig().to_json() == (
        b'{"model_format":"","model_family":"","model_families":null,"model_type":"",'
        b'"file_type":"","architecture":"amd64","os":"linux"}\n'
    )


def test_unknown_fields_of_a_config_outlive_us() -> None:
    data = (
        b'{"model_format":"gguf","skills":[{"name":"a<b","weight":1.0}],"model_family":"llama",'
        b'"generation_defaults":{"top_k": 1e400},"ok":true,"others":null}'
    )
    config = ImageConfig.from_json(data)
    assert config.model_format == "gguf"
    written = config.to_json()
    assert written.startswith(b'{"model_format":"gguf","model_family":"llama",')
    assert written.endswith(
        b'"os":"linux","skills":[{"name":"a<b","weight":1.0}],'
        b'"generation_defaults":{"top_k": 1e400},"ok":true,"others":null}\n'
    )
    assert ImageConfig.from_json(written) == config


def test_known_fields_of_a_config_may_be_null() -> None:
    data = b'{"model_format":"gguf","renderer":null,"context_length":null,"draft":null}'
    assert ImageConfig.from_json(data) == ImageConfig(model_format="gguf")


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"null", b'{"renderer":5}', b'{"draft":"x"}', b'{"a":}']
)
def test_invalid_configs_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidManifest):
        ImageConfig.from_json(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"schemaVersion":2,"mediaType":"application/vnd.ollama.manifest.list.v2+json",'
        b'"manifests":[]}',
        b'{"layers":[{"digest":5}]}',
    ],
)
def test_unsupported_manifests_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidManifest):
        Manifest.from_json(data)


def test_layer_needs_no_source() -> None:
    assert b"from" not in Manifest(config=Layer("t", "sha256:x", 1)).to_json()


def test_json_is_go_json() -> None:
    value = {"stop": ["<|im_end|>", "a&b", "é\u2028"], "temperature": 1.0, "top_p": 0.95}
    assert (
        encode_json(value)
        == (
            '{"stop":["\\u003c|im_end|\\u003e","a\\u0026b","é\\u2028"],"temperature":1,"top_p":0.95}\n'
        ).encode()
    )
