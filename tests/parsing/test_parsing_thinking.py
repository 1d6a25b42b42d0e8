"""Thinking: its beginning, its end, and text that is not thinking."""

from __future__ import annotations

import pytest
from whole import fed, parse, tool

from jupyter_ollama.parsing.style_selection import parser_for, style_for

QWEN = style_for("qwen3")
GO = style_for(
    go="{{ range .Messages }}{{ if .Thinking }}<mind>{{ .Thinking }}</mind>{{ end }}"
    "{{ .Content }}{{ end }}"
)

CASES = [
    ("<think>a</think>b", "b", "a"),
    ("<think>\na\n</think>\n\nb", "b", "a"),
    (" \n<think>a</think>b", "b", "a"),
    ("<think></think>b", "b", ""),
    ("<think> \n </think>b", "b", ""),
    ("<think>a\n\nb</think>c\n\nd\n", "c\n\nd\n", "a\n\nb"),
    ("<think>a </thin b</think>c", "c", "a </thin b"),
    ("<think>a<think>b</think>c", "c", "a<think>b"),
    ("<think>a</think>b</think>c", "b</think>c", "a"),
    ("<think>a", "", "a"),
    ("<think>a ", "", "a "),
    ("<think>a</th", "", "a</th"),
    ("<think>", "", ""),
    ("<think", "<think", ""),
    ("b", "b", ""),
    (" b", " b", ""),
    ("  ", "  ", ""),
    ("", "", ""),
    ("b <think>a</think>", "b <think>a</think>", ""),
    ("<thinking>a</thinking>", "<thinking>a</thinking>", ""),
]


@pytest.mark.parametrize(("text", "content", "thinking"), CASES)
def test_tags(text: str, content: str, thinking: str) -> None:
    assert parse(lambda: parser_for(QWEN), text) == (content, thinking, [])
    other = text.replace("think>", "mind>").replace("<think", "<mind").replace("</th", "</mi")
    answer = parse(lambda: parser_for(GO, think=True), other)
    assert (
        answer[0].replace("mind>", "think>").replace("<mind", "<think").replace("</mi", "</th")
        == content
    )
    assert bool(answer[1]) == bool(thinking)


def test_a_prompt_that_opens_the_tag() -> None:
    for prompt in ("<|im_start|>assistant\n<think>\n", "...<think>"):
        assert parse(lambda p=prompt: parser_for(QWEN, p), "a\n</think>\n\nb") == ("b", "a", [])
        assert parse(lambda p=prompt: parser_for(QWEN, p), "a") == ("", "a", [])


def test_a_prompt_that_closes_the_tag() -> None:
    prompt = "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    assert parse(lambda: parser_for(QWEN, prompt), "b") == ("b", "", [])


def test_without_think_nothing_is_thinking() -> None:
    text = "<think>a</think>b"
    assert parse(lambda: parser_for(QWEN, think=False), text) == (text, "", [])
    assert not parser_for(QWEN, think=False).thinking


def test_thinking_is_reported_while_it_lasts() -> None:
    parser = parser_for(QWEN, think=True)
    seen = []
    for piece in ("\n", "<think>", "a", "</thi", "nk>", "\n", "b"):
        parser.feed(piece)
        seen.append(parser.thinking)
    assert seen == [True, True, True, True, False, False, False]
    parser = parser_for(QWEN, think=True)
    parser.feed("b")
    assert not parser.thinking


def test_thinking_streams() -> None:
    parts = fed(parser_for(QWEN, "<think>"), ["a", " b", " c</thi", "nk>", "d"])
    assert [part.thinking for part in parts] == ["a", " b", " c", "", "", ""]


def test_harmony_thinks_until_the_final_message() -> None:
    parser = parser_for(style_for("harmony"), "<|start|>assistant", think="low")
    seen = []
    for piece in (
        *("<|channel|>analysis<|message|>a", "<|end|>", "<|start|>assistant"),
        *("<|channel|>final", "<|message|>", "b"),
    ):
        parser.feed(piece)
        seen.append(parser.thinking)
    assert seen == [True, True, True, True, False, False]


def test_harmony_continues_a_prompt() -> None:
    style = style_for("harmony")
    for prompt, expected in {
        "<|start|>assistant<|channel|>final<|message|>He": ("llo", "", []),
        "<|start|>assistant<|channel|>analysis<|message|>": ("", "llo", []),
        "<|start|>assistant<|channel|>analysis": ("", "", []),
    }.items():
        assert parse(lambda p=prompt: parser_for(style, p), "llo") == expected
    header = "<|start|>assistant<|channel|>analysis"
    assert parse(lambda: parser_for(style, header), "<|message|>llo") == ("", "llo", [])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ministral", "[THINK]a[/THINK]b"),
        ("gemma4", "<|channel>thought\na\n<channel|>b"),
        ("cohere", "<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>b<|END_RESPONSE|>"),
        ("kimi", "<|open|>think<|sep|>a<|close|>think<|sep|><|open|>response<|sep|>b"),
        ("deepseek-r1", "<think>\na\n</think>\n\nb"),
        ("harmony", "<|channel|>analysis<|message|>a<|end|><|start|>assistant"
         "<|channel|>final<|message|>b<|return|>"),
    ],
)  # fmt: skip
def test_tags_of_families(name: str, text: str) -> None:
    assert parse(lambda: parser_for(style_for(name)), text) == ("b", "a", [])


def test_a_call_ends_thinking() -> None:
    call = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    answer = parse(lambda: parser_for(QWEN, "<think>\n", [tool("now")]), "I look.\n" + call)
    assert answer == ("", "I look.", [("now", {})])
    answer = parse(
        lambda: parser_for(QWEN, "<think>", [tool("now")]), "<tool_call> is a tag</think>b"
    )
    assert answer == ("b", "<tool_call> is a tag", [])
