"""Models as Ollama publishes them: pulled from a registry by a cell, then asked about a picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ollama_layout import DATA, unpack
from peers import FaultyRegistry, faulty_registry, status
from real_kernel import Kernel
from run_notebook import Server, jupyter_server

GEMMA3 = {"model_family": "gemma3", "model_families": ["gemma3"], "model_type": "300K"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Jupyter server process with an empty store."""
    home = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OLLAMA_MODELS", str(home / "models"))
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(home / name.lower()))
        with jupyter_server(home) as running:
            yield running


@pytest.fixture
def registry() -> Iterator[FaultyRegistry]:
    """A registry on loopback."""
    with faulty_registry() as registry:
        yield registry


def shown(messages: list[tuple[str, dict[str, object]]]) -> str:
    return "".join(
        str(content.get("text") or content.get("evalue") or content.get("data", ""))
        for _, content in messages
    )


def test_a_vision_model_in_one_file_sees_a_picture(
    cell: Kernel, registry: FaultyRegistry, tmp_path: Path
) -> None:
    blob = unpack("gemma3-vision", tmp_path).read_bytes()
    registry.publish("me/gemma3", blob, described=GEMMA3)
    model = f"{registry.host}/me/gemma3"
    reply, messages = cell.run(f"%ollama pull {model} --insecure")
    assert reply["status"] == "ok", shown(messages)
    reply, messages = cell.run(f"%ollama show {model}")
    assert "vision" in shown(messages)
    answers = []
    for picture in ("picture.png", "picture2.png", "picture.png"):
        options = f"--new --image {DATA / picture} --temperature 0 --num-predict 8 -o answer"
        reply, messages = cell.run(f"%%chat {model} {options}\nWhat is this?")
        assert reply["status"] == "ok", shown(messages)
        reply, messages = cell.run("print(answer.done_reason, repr(answer.text))")
        answers.append(shown(messages))
    # The weights are random: its answers are noise, which differs between pictures.
    assert answers[0] == answers[2] != answers[1]
    assert answers[0].startswith("length")


def test_a_model_for_a_newer_ollama_says_so(cell: Kernel, registry: FaultyRegistry) -> None:
    registry.publish("me/new", b"weights", described={"requires": "99.1.0"})
    reply, messages = cell.run(f"%ollama pull {registry.host}/me/new --insecure")
    assert reply["status"] == "error"
    assert "requires Ollama 99.1.0 or newer" in shown(messages)


def test_a_refusal_of_the_registry_says_why(cell: Kernel, registry: FaultyRegistry) -> None:
    registry.publish("me/new", b"weights")
    registry.manifest_faults.append(status(412, "requires a newer version of Ollama"))
    reply, messages = cell.run(f"%ollama pull {registry.host}/me/new --insecure")
    assert reply["status"] == "error"
    assert "requires a newer Ollama" in shown(messages)
