"""What a model is said to support."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_gguf import write_gguf

from jupyter_ollama.library.capabilities import capabilities
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


def test_family_and_config(tmp_path: Path) -> None:
    header = read_header(write_gguf(tmp_path / "x.gguf", "gpt-oss"))
    config = ImageConfig(model_family="gptoss", capabilities=["image", "completion"])
    assert capabilities(header, None, False, config) == ["image", "completion", "thinking"]
