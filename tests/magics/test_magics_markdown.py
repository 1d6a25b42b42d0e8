"""The text of a model as markdown: HTML is text, code blocks are closed."""

from __future__ import annotations

import json
import random
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jupyter_ollama_magics.markdown import safe_markdown
from markdown_it import MarkdownIt
from nbconvert.filters.markdown_mistune import markdown2html_mistune

DATA = Path(__file__).parents[1] / "data"
ANSWERS = json.loads((DATA / "answers.json").read_text("utf-8"))
"""Answers and their markdown; the tests of the chat in JupyterLab use the same file."""
HOSTILE = json.loads(
    (DATA / "hostile_answers.json").read_text("utf-8").replace("URL", "http://h/x")
)
ATOMS = [*HOSTILE["images"], *HOSTILE["atoms"]]
ENDS = HOSTILE["ends"]
TAGS = re.compile(
    "a|blockquote|br|code|d[dlt]|del|details|div|em|h[1-6r]|input|li|ol|p|pre|s|section|span|strong"
    "|summary|table|tbody|t[dhr]|thead|ul"
)
ATTRIBUTES = {
    "align",
    "checked",
    "class",
    "disabled",
    "href",
    "id",
    "start",
    "style",
    "title",
    "type",
}
ADDRESS = re.compile(r"https?://|mailto:|#", re.I)
ALIGNMENT = re.compile(r"text-align:\s*\w+;?")


@pytest.mark.parametrize("text", ANSWERS["unchanged"])
def test_ordinary_markdown_stays(text: str) -> None:
    assert safe_markdown(text) == text


@pytest.mark.parametrize(("text", "expected"), ANSWERS["changed"])
def test_active_content_becomes_text(text: str, expected: str) -> None:
    assert safe_markdown(text) == expected


@pytest.mark.parametrize("cut", range(0, 120, 3))
def test_every_prefix_closes_its_blocks(cut: int) -> None:
    text = "Look:\n\n```html\n<b>x</b>\n```\n\nand\n~~~~py\n```\n<i>\n~~~~\n" * 2
    shown = safe_markdown(text[:cut]).splitlines()
    fences = [line for line in shown if re.fullmatch(r"`{3,}\w*", line)]
    outside = True
    open_fence = ""
    for line in shown:
        if outside and line.startswith("```"):
            outside, open_fence = False, line.rstrip("abcdefghijklmnopqrstuvwxyz")
        elif not outside and line == open_fence:
            outside = True
        elif outside:
            assert not re.search(r"<[A-Za-z/]", line)
    assert outside, fences


class Reader(HTMLParser):
    """Collects the parts of a page that harmless markdown does not produce."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[object] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if not TAGS.fullmatch(tag):
            self.found.append(tag)
        for name, value in attrs:
            if (
                name not in ATTRIBUTES
                or (name == "href" and not ADDRESS.match(value or ""))
                or (name == "style" and not ALIGNMENT.fullmatch(value or ""))
            ):
                self.found.append((tag, name, value))

    def handle_comment(self, data: str) -> None:
        self.found.append(("comment", data))

    def handle_decl(self, decl: str) -> None:
        self.found.append(("declaration", decl))


def found(html: str) -> list[object]:
    """Return the active parts of a page."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader.found


def shuffled(generator: random.Random) -> str:
    """Return an answer of constructs that parsers disagree about, often with active code."""
    text = "".join(generator.choices(ATOMS, k=generator.choice([4, 8, 14, 22])))
    if generator.random() < 0.6:
        end, probe = generator.choice(ENDS), generator.choice(HOSTILE["images"])
        text += f"\n```\n{end}\n{probe}\n```\n{generator.choice(ENDS)}"
    return text


@pytest.mark.parametrize("seed", range(8))
def test_no_parser_finds_active_content(seed: int) -> None:
    generator = random.Random(seed)
    commonmark = MarkdownIt("gfm-like", {"html": True, "linkify": False})
    for _ in range(60):
        text = shuffled(generator)
        shown = safe_markdown(text)
        assert found(markdown2html_mistune(shown)) == [], text
        assert found(commonmark.render(shown)) == [], text


@pytest.mark.parametrize("place", [*HOSTILE["places"], *HOSTILE["others"], *HOSTILE["actions"]])
def test_hostile_answers(place: str) -> None:
    commonmark = MarkdownIt("gfm-like", {"html": True, "linkify": False})
    for image in HOSTILE["images"] if "HERE" in place else [""]:
        shown = safe_markdown(place.replace("HERE", image))
        assert found(markdown2html_mistune(shown)) == []
        assert found(commonmark.render(shown)) == []
