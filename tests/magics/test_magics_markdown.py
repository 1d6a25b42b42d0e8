"""The text of a model as markdown: no HTML of it lives, no code block stays open."""

from __future__ import annotations

import re

import pytest
from jupyter_ollama_magics.markdown import safe_markdown


@pytest.mark.parametrize(
    "text",
    [
        "plain *text* with `code` and a < b",
        "a\n\n- list\n- list [link](http://x)\n\n| a | b |\n|---|---|\n| 1 | 2 |",
        "```python\nif a<b: print('<b>')\n```\nafter",
        "math $a < b$ and $$x^2$$",
        "$2^n$, $ x $ and `$5` to `$10`, $HOME, http://x/$1",
        "\\( of one paragraph\n\n- and \\) of another",
        "",
        "two\n```\na\n```\n```\nb\n```\n",
    ],
)
def test_ordinary_markdown_stays(text: str) -> None:
    assert safe_markdown(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"),
        ("x <img src=x onerror=alert(1)>", "x &lt;img src=x onerror=alert(1)>"),
        ("<!-- a --> <?b?>", "&lt;!-- a --> &lt;?b?>"),
        ("use `<div>` here", "use <code>&lt;div&gt;</code> here"),
        ("`` a`<b> ``", "<code>a&#96;&lt;b&gt;</code>"),
        ("$0<x<1$", "$0< x<1$"),
        # code blocks end where they seem to, for every parser
        ("```js\n<b>", "```js\n<b>\n```"),
        ("~~~\n```\n<b>\n~~~\n<i>", "````\n```\n<b>\n````\n&lt;i>"),
        ("1. do\n   ```sh\n   a <b>\n     c\n   ```\n<i>", "1. do\n```sh\na <b>\n  c\n```\n&lt;i>"),
        ("> ```\n<script>", "> ```\n&lt;script>"),
        (
            "` x\n` <img src=x> `",
            "` x\n<code>&lt;img src=x&gt;</code>",
        ),
        ('[a]: b "\n```\n" <b>\n```', '[a]&#58; b "\n```\n" <b>\n```'),
    ],
)
def test_html_becomes_text(text: str, expected: str) -> None:
    assert safe_markdown(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\(a_1\) and \[ x^2 \]", "$a_1$ and $$x^2$$"),
        (r"\\(a<b\\)", "$a< b$"),
        ("\\[\na \\\\[4pt]\nb\n\\]", "$$a \\\\[4pt]\nb$$"),
        ("$5 to $10", "<span>&#36;</span>5 to <span>&#36;</span>10"),
        (
            "$5 to $6, `$HOME` aside",
            "<span>&#36;</span>5 to <span>&#36;</span>6, `$HOME` aside",
        ),
        (r"**\$5**, so $x$", "**<span>&#36;</span>5**, so $x$"),
    ],
)
def test_math_shows_and_prices_are_none(text: str, expected: str) -> None:
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


def test_images_become_links() -> None:
    text = "See ![a](https://x.org/?q=secret), ![b][c] and `![d](e)`."
    assert safe_markdown(text) == "See [a](https://x.org/?q=secret), [b][c] and `![d](e)`."
