"""The grammar of model names."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from jupyter_ollama.library.name import InvalidName, ModelName


@pytest.mark.parametrize(
    ("text", "qualified", "display"),
    [
        ("llama3", "registry.ollama.ai/library/llama3:latest", "llama3:latest"),
        ("llama3:8b", "registry.ollama.ai/library/llama3:8b", "llama3:8b"),
        ("LLaMA3", "registry.ollama.ai/library/LLaMA3:latest", "LLaMA3:latest"),
        ("me/x", "registry.ollama.ai/me/x:latest", "me/x:latest"),
        ("me/x:q4_K_M", "registry.ollama.ai/me/x:q4_K_M", "me/x:q4_K_M"),
        ("hf.co/u/r:Q4_K_M", "hf.co/u/r:Q4_K_M", "hf.co/u/r:Q4_K_M"),
        ("localhost:5000/a/b", "localhost:5000/a/b:latest", "localhost:5000/a/b:latest"),
        ("http://h:1/a/b:t", "h:1/a/b:t", "h:1/a/b:t"),
        ("Registry.Ollama.AI/Library/x", "Registry.Ollama.AI/Library/x:latest", "x:latest"),
        ("_x:_t", "registry.ollama.ai/library/_x:_t", "_x:_t"),
        ("llama3:local", "registry.ollama.ai/library/llama3:latest", "llama3:latest"),
        ("llama3:8b:LOCAL", "registry.ollama.ai/library/llama3:8b", "llama3:8b"),
        ("gpt-oss:20b:cloud", "registry.ollama.ai/library/gpt-oss:20b-cloud", "gpt-oss:20b-cloud"),
        ("gpt-oss:20b-cloud", "registry.ollama.ai/library/gpt-oss:20b-cloud", "gpt-oss:20b-cloud"),
        ("glm:cloud", "registry.ollama.ai/library/glm:cloud", "glm:cloud"),
        (" padded ", "registry.ollama.ai/library/padded:latest", "padded:latest"),
        ("h" * 255 + "/n/m", "h" * 255 + "/n/m:latest", "h" * 255 + "/n/m:latest"),
        ("m" * 80, f"registry.ollama.ai/library/{'m' * 80}:latest", f"{'m' * 80}:latest"),
    ],
)
def test_valid_names(text: str, qualified: str, display: str) -> None:
    name = ModelName.parse(text)
    assert (name.qualified, name.display) == (qualified, display)
    assert ModelName.parse(name.qualified) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "mm:",
        "/x",
        "x/",
        "a//b",
        "a/b/c/d",
        ":tag",
        "a b",
        "-a",
        ".a",
        "a:-t",
        "a:.t",
        "n.s/model",
        "m" * 81,
        "a:" + "t" * 81,
        "h" * 256 + "/n/m",
        "x@sha256-" + "0" * 64,
        "é",
        "a\nb",
        "a\x00",
        "ftp://h/n/m",
        "http://model",
    ],
)
def test_invalid_names(text: str) -> None:
    with pytest.raises(InvalidName):
        ModelName.parse(text)


@pytest.mark.parametrize(
    "text",
    ["..", "../x", "../../etc/passwd", "a/..", "a:..", "../a/b", "a\\..\\b", "/etc/passwd", "~"],
)
def test_no_name_leaves_its_folder(text: str) -> None:
    with pytest.raises(InvalidName):
        ModelName.parse(text)


def test_no_part_can_leave_its_folder() -> None:
    for parts in (("..", "a", "b", "c"), ("h", "a/b", "c", "d"), ("h", "n", "", "t")):
        with pytest.raises(InvalidName):
            ModelName(*parts)


def test_both_source_suffixes() -> None:
    with pytest.raises(InvalidName, match="use either :local or :cloud, not both"):
        ModelName.parse("x:local:cloud")


def test_path_and_scheme() -> None:
    name = ModelName.parse("HTTP://h:1/n/m:t")
    assert name.scheme == "http"
    assert PurePosixPath(*name.path.parts) == PurePosixPath("h:1/n/m/t")
    assert name == ModelName.parse("h:1/n/m:t")
