"""Answers and the results of Ollama's parsers, by the parser that a model's config names.

``tests/data/parsers/NAME.json.xz`` has the answers of one parser, ``index.json`` the capabilities
of each, and ``kept/NAME.json`` the answers for which our result is better on purpose.
"""

from __future__ import annotations

import json
import lzma
from functools import cache
from pathlib import Path
from typing import Any

from whole import Joined, fed, joined

from jupyter_ollama.parsing.parsed import Parser
from jupyter_ollama.parsing.style_selection import parser_for, style_for

DATA = Path(__file__).parents[1] / "data" / "parsers"

Case = dict[str, Any]
"""Keys: name, tools, think, prompt_end, text, expected, perhaps expected_whole, expected_chars."""


@cache
def index() -> dict[str, dict[str, Any]]:
    """Load the capabilities of each parser."""
    return dict(json.loads((DATA / "index.json").read_bytes()))


@cache
def cases(parser: str) -> list[Case]:
    """Load the answers of one parser, with the tools of each."""
    data = json.loads(lzma.decompress((DATA / f"{parser}.json.xz").read_bytes()))
    return [
        {**case, "tools": data["TOOLS"] if case["tools"] == "TOOLS" else case["tools"]}
        for case in data["cases"]
    ]


@cache
def kept(parser: str) -> dict[str, dict[str, Any]]:
    """Load the answers with a better result of ours: by name, ``why`` and the result."""
    path = DATA / "kept" / f"{parser}.json"
    return dict(json.loads(path.read_bytes())) if path.exists() else {}


def parser_of(parser: str, case: Case) -> Parser:
    """Make the parser as the runner does: ``think`` unset means no thinking."""
    style = style_for(parser)
    return parser_for(style, case["prompt_end"], case["tools"], case["think"] or False)


def read(parser: str, case: Case, pieces: list[str]) -> Joined:
    """Parse an answer that arrives in pieces."""
    return joined(fed(parser_of(parser, case), pieces))


def result(expected: dict[str, Any]) -> Joined:
    """Return the expected result, in the form of ``read``."""
    calls = [(call["name"], call["arguments"]) for call in expected["tool_calls"]]
    return expected["content"], expected["thinking"], calls


def is_right(parser: str, case: Case, found: Joined) -> bool:
    """Return whether a result is that of Ollama, or the listed better one.

    If Ollama's result depends on the cuts, any of its results is right. If it answers with an
    error, ours must contain everything before it. If it mistakes content for thinking or vice
    versa, calls and text must be the same, in either field.
    """
    if case["name"] in kept(parser):
        ours = kept(parser)[case["name"]]
        return same(found, result(ours))
    if mistakes_thinking(parser, case) and _joined(found) in map(_joined, _results(case)):
        return True
    for key in ("expected", "expected_whole", "expected_chars"):
        expected = case.get(key)
        if expected is None:
            continue
        content, thinking, calls = result(expected)
        if "error" not in expected:
            if same(found, (content, thinking, calls)):
                return True
        elif (
            found[0].startswith(content)
            and found[1].startswith(thinking)
            and same(("", "", found[2][: len(calls)]), ("", "", calls))
        ):
            return True
    return False


def mistakes_thinking(parser: str, case: Case) -> bool:
    """Return whether Ollama misses the beginning or end of thinking.

    Cogito's parser treats thinking as content if there are tools, that of qwen3-vl-thinking treats
    everything as thinking if it is disabled, and after a last message of the assistant all parsers
    expect content, even if the prompt opens thinking in a new turn.
    """
    if parser == "cogito" and case["think"] and case["tools"]:
        return True
    if parser == "qwen3-vl-thinking" and not case["think"]:
        return True
    return "last_message" in case and case["prompt_end"].rstrip().endswith("<think>")


def _results(case: Case) -> list[Joined]:
    return [result(case[key]) for key in case if key.startswith("expected")]


def _joined(value: Joined) -> str:
    """Write out calls, and thinking and content without the tags and blanks between them."""
    content, thinking, calls = value
    text = (thinking + content).replace("<think>", "").replace("</think>", "")
    return "".join(text.split()) + _text(("", "", calls))


def same(one: Joined, other: Joined) -> bool:
    """Compare results; the order of keys is ignored, and 1 differs from True."""
    return _text(one) == _text(other)


def _text(value: Joined) -> str:
    return json.dumps(value, sort_keys=True)
