"""The setting ``upstreams``: its errors name the field, and names find their models."""

from __future__ import annotations

from typing import Any

import pytest
from traitlets import TraitError

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.library.name import ModelName
from jupyter_ollama.upstreams.breaker import FAILURES, Breaker
from jupyter_ollama.upstreams.failure import Kind
from jupyter_ollama.upstreams.offers import key_of, name_here, named_offers
from jupyter_ollama.upstreams.spec import read_spec
from jupyter_ollama.upstreams.task import Listed

URL = "http://gpu:8000"
VALID = {"url": URL, "api": "openai"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "gpu.url is missing"),
        ({"url": URL}, "gpu.api is missing"),
        (VALID | {"url": "gpu:8000"}, "gpu.url must be a text that begins with http"),
        (VALID | {"url": "http://"}, "gpu.url is no address"),
        (VALID | {"url": "http://gpu:99999"}, "gpu.url is no address"),
        (VALID | {"url": "http://ann:pw@gpu"}, "gpu.url must have no user and password"),
        (VALID | {"url": "http://gpu/?token=x"}, "gpu.url must have no query"),
        (VALID | {"url": "http://gpu/\r\nX: y"}, "gpu.url is no address"),
        (VALID | {"api": "grpc"}, "gpu.api must be 'ollama' or 'openai'"),
        (VALID | {"kye": "x"}, "gpu has the unknown field 'kye' (known: url, api, key,"),
        (VALID | {"key": "x", "key_env": "Y"}, "gpu.key_env and gpu.key exclude each other"),
        (VALID | {"key": "a\nb"}, "gpu.key must have printable ASCII characters only"),
        (VALID | {"key": 3}, "gpu.key must be a text"),
        (VALID | {"models": "m"}, "gpu.models must be a list of names and patterns, or a dict"),
        (VALID | {"models": []}, "gpu.models must not be empty"),
        (VALID | {"models": {"m": 3}}, "gpu.models must have texts only"),
        (VALID | {"models": ["/models/a b.gguf"]}, "gpu.models has '/models/a b.gguf', which is"),
        (VALID | {"capabilities": ["fly"]}, "gpu.capabilities must be a list, or a dict"),
        (VALID | {"capabilities": {"*": "tools"}}, "gpu.capabilities must be a list, or a dict"),
        (VALID | {"weight": 0}, "gpu.weight must be a number from 0.001 to 1000"),
        (VALID | {"weight": True}, "gpu.weight must be a number from"),
        (VALID | {"concurrent": 1.5}, "gpu.concurrent must be a whole number from 1 to 10000"),
        (VALID | {"first_seconds": "1m"}, "gpu.first_seconds must be a number from"),
        (VALID | {"thinking": "yes"}, "gpu.thinking must be 'effort' or 'template'"),
        ("http://gpu", "gpu is not a dict"),
    ],
)
def test_errors_name_the_field(given: Any, message: str) -> None:
    with pytest.raises(TraitError) as raised:
        OllamaServer(upstreams={"gpu": given})
    assert f"upstreams: {message}" in str(raised.value)


@pytest.mark.parametrize("name", ["", "a@b", "a b", "-a", "a" * 65, 3])
def test_names_of_upstreams(name: Any) -> None:
    with pytest.raises(ValueError, match="is no name"):
        read_spec(name, VALID)


def test_the_key_is_in_no_text_of_a_spec() -> None:
    assert "hidden" not in repr(read_spec("gpu", VALID | {"key": "hidden-key"}))


@pytest.mark.parametrize(
    ("api", "url", "base"),
    [
        ("openai", "http://gpu:8000", "http://gpu:8000/v1"),
        ("openai", "http://gpu:8000/", "http://gpu:8000/v1"),
        ("openai", "http://gpu/v1/", "http://gpu/v1"),
        ("openai", "https://host/api/v3", "https://host/api/v3"),
        ("ollama", "http://gpu:11434", "http://gpu:11434"),
        ("ollama", "http://gpu:11434/api/", "http://gpu:11434"),
        ("ollama", "https://hub/services/ollama/ollama", "https://hub/services/ollama/ollama"),
    ],
)
def test_addresses(api: str, url: str, base: str) -> None:
    assert read_spec("gpu", {"url": url, "api": api}).url == base


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("smollm2", "smollm2:latest"),
        ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B:latest"),
        ("/models/My Model.gguf", "My-Model:latest"),
        ("C:\\models\\a.gguf", "a:latest"),
        ("\x00", None),
        ("", None),
    ],
)
def test_names_here(theirs: str, ours: str | None) -> None:
    name = name_here(theirs)
    assert (name and name.display) == ours


def offered(
    models: Any, api: str = "openai", listed: Any = ("qwen3:4b", "embed-1", "m")
) -> set[str]:
    fields = {} if models is None else {"models": models}
    spec = read_spec("gpu", {"url": URL, "api": api} | fields)
    found = named_offers(spec, None if listed is None else [Listed(one) for one in listed])
    return {f"{one.name.display}={one.listed.name}" for one in found.values()}


def test_offers() -> None:
    everything = {"qwen3:4b=qwen3:4b", "embed-1:latest=embed-1", "m:latest=m"}
    assert offered(None) == everything
    assert offered(["qwen*", "m"]) == {"qwen3:4b=qwen3:4b", "m:latest=m"}
    assert offered(["QWEN*"]) == {"qwen3:4b=qwen3:4b"}
    assert offered({"chat": "qwen3:4b"}) == {"chat:latest=qwen3:4b"}
    assert offered({"chat": "gone"}) == {"chat:latest=gone"}
    assert offered({"chat": "gone"}, "ollama") == set()
    assert offered({"chat": "gone"}, "ollama", None) == {"chat:latest=gone"}
    assert offered(None, listed=None) == set()
    assert offered({"chat": "m"}, "ollama", ["m:latest"]) == {"chat:latest=m:latest"}


def test_capabilities_are_stated_or_a_guess() -> None:
    stated = {"qwen*": ["completion", "thinking"]}
    spec = read_spec("gpu", VALID | {"capabilities": stated})
    found = named_offers(spec, [Listed("qwen3:4b"), Listed("embed-1"), Listed("m")])
    by_name = {one.name.model: (one.capabilities, one.is_certain) for one in found.values()}
    assert by_name == {
        "qwen3": (("completion", "thinking"), True),
        "embed-1": (("embedding",), False),
        "m": (("completion", "tools"), False),
    }
    assert key_of(ModelName.parse("M")) in found


def test_the_breaker_opens_and_lets_one_request_try(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    breaker = Breaker()
    for _ in range(10):
        breaker.fail(Kind.ERROR)  # what a request of a user can cause
        breaker.fail(Kind.REQUEST)
    assert breaker.is_closed
    for _ in range(FAILURES):
        assert breaker.is_closed
        breaker.fail(Kind.FAULTY)
    assert not breaker.is_closed
    assert not breaker.is_due
    now += 2
    assert breaker.is_due
    assert breaker.begin()
    assert not breaker.is_due
    breaker.fail(Kind.FAULTY)
    now += 1.3
    assert not breaker.is_due  # the pause has doubled
    now += 2
    assert breaker.begin()
    breaker.end()
    assert breaker.begin()
    breaker.succeed()
    assert breaker.is_closed
    breaker.fail(Kind.DOWN)  # cannot be reached: at once
    assert not breaker.is_closed
