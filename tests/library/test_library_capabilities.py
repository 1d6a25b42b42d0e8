"""The capabilities of models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_gguf import write_gguf

from jupyter_ollama.library.capabilities import capabilities, hears
from jupyter_ollama.library.gguf import read_header
from jupyter_ollama.library.manifest import ImageConfig

CHAT = "{{ range .Messages }}{{ .Content }}{{ end }}"
TOOLS = "{{ range .Messages }}{{ .Content }}{{ end }}{{ if .Tools }}{{ .Tools }}{{ end }}"
THINKING = "{{ range .Messages }}<think>{{ .Thinking }}</think>{{ .Content }}{{ end }}"
INSERT = "<PRE>{{ .Prompt }}<SUF>{{ .Suffix }}<MID>"


@pytest.mark.parametrize(
    ("metadata", "template", "projector", "expected"),
    [
        ({}, None, False, ["completion"]),
        ({}, CHAT, False, ["completion"]),
        ({}, TOOLS, False, ["completion", "tools"]),
        ({}, THINKING, False, ["completion", "thinking"]),
        ({}, INSERT, False, ["completion", "insert"]),
        ({}, "{{ if }}", False, ["completion"]),
        ({}, None, True, ["completion", "vision"]),
        ({"llama__vision__block_count": 2}, None, False, ["completion", "vision"]),
        ({"llama__pooling_type": 1}, None, False, ["embedding"]),
        ({"llama__pooling_type": 0}, None, False, ["embedding"]),
        ({"tokenizer__chat_template": "{% if tools %}"}, None, False, ["completion", "tools"]),
        ({"tokenizer__chat_template": "tool_call"}, None, False, ["completion", "tools"]),
        ({"tokenizer__chat_template": "tools"}, CHAT, False, ["completion", "tools"]),
        ({"tokenizer__chat_template": "none"}, TOOLS, False, ["completion", "tools"]),
        (
            {"tokenizer__chat_template": "tools <think> </think>"},
            None,
            False,
            ["completion", "tools", "thinking"],
        ),
        ({"tokenizer__chat_template": "<think>"}, None, False, ["completion"]),
        (
            {"tokenizer__chat_template": "content.split('</think>')"},
            None,
            False,
            ["completion", "thinking"],
        ),
        (
            {"tokenizer__chat_template": "content.split('</think>') reasoning_content"},
            None,
            False,
            ["completion"],
        ),
    ],
)
def test_capabilities(
    tmp_path: Path,
    metadata: dict[str, Any],
    template: str | None,
    projector: bool,
    expected: list[str],
) -> None:
    header = read_header(write_gguf(tmp_path / "x.gguf", **metadata))
    assert capabilities(header, template, projector, ImageConfig()) == expected


@pytest.mark.parametrize(
    ("parser", "expected"),
    [
        ("qwen3.5", ["tools", "thinking"]),
        ("olmo3", ["tools"]),
        ("olmo3-think", ["thinking"]),
        ("passthrough", []),
        ("", []),
    ],
)
def test_the_parser_decides_beside_a_renderer(
    tmp_path: Path, parser: str, expected: list[str]
) -> None:
    knows_all = "tools <think> </think>"
    header = read_header(write_gguf(tmp_path / "x.gguf", tokenizer__chat_template=knows_all))
    config = ImageConfig(renderer="qwen3.5", parser=parser)
    assert capabilities(header, None, False, config) == ["completion", *expected]
    assert capabilities(header, CHAT, False, config) == ["completion", *expected]


def test_audio_of_the_model_itself(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "x.gguf", "gemma4", gemma4__audio__block_count=2)
    assert capabilities(read_header(path), None, False, ImageConfig()) == ["completion", "audio"]
    path = write_gguf(tmp_path / "y.gguf", "gemma4", gemma4__vision__block_count=2)
    assert "audio" not in capabilities(read_header(path), None, False, ImageConfig())


@pytest.mark.parametrize(
    ("architecture", "config"),
    [
        ("nemotron_h_omni", ImageConfig()),
        ("llama", ImageConfig(model_family="nemotron_h_omni")),
        ("llama", ImageConfig(model_families=["llama", "nemotron_h_omni"])),
        ("nemotron_h_omni", ImageConfig(capabilities=["audio", "vision"])),
    ],
)
def test_audio_that_cannot_be_run_is_left_out(
    tmp_path: Path, architecture: str, config: ImageConfig
) -> None:
    key = {f"{architecture}__audio__block_count": 2}
    header = read_header(write_gguf(tmp_path / "x.gguf", architecture, **key))
    found = capabilities(header, None, True, config, projector_hears=True)
    assert "audio" not in found
    assert "vision" in found


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"clip__has_audio_encoder": True}, True),
        ({"other__has_audio_encoder": True}, True),
        ({"clip__has_audio_encoder": False}, False),
        ({"clip__has_vision_encoder": True}, False),
        (
            {"clip__has_audio_encoder": True, "clip__vision__projector_type": "gemma3nv"},
            False,
        ),
        (
            {"clip__has_audio_encoder": True, "clip__vision__projector_type": "gemma4v"},
            True,
        ),
    ],
)
def test_projectors_that_hear(tmp_path: Path, metadata: dict[str, Any], expected: bool) -> None:
    header = read_header(write_gguf(tmp_path / "x.gguf", "clip", **metadata))
    assert hears(header) is expected
    found = capabilities(header, None, True, ImageConfig(), projector_hears=hears(header))
    assert ("audio" in found) is expected


def test_family_and_config(tmp_path: Path) -> None:
    header = read_header(write_gguf(tmp_path / "x.gguf", "gpt-oss"))
    config = ImageConfig(model_family="gptoss", capabilities=["image", "completion"])
    assert capabilities(header, None, False, config) == ["image", "completion", "thinking"]
