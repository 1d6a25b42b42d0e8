"""Line breaks between words, however the text is cut into pieces."""

from __future__ import annotations

import random

import pytest

from jupyter_ollama.cli.word_wrap import WordWrap, columns


def wrapped(text: str, width: int, pieces: random.Random) -> str:
    wrap = WordWrap(lambda: width)
    done = ""
    while text:
        size = pieces.randint(1, 9)
        done += wrap.feed(text[:size])
        text = text[size:]
    return done + wrap.flush()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one two three", "one two\nthree"),
        ("one two thr", "one two\nthr"),
        ("12345678 a", "12345678\na"),
        ("one\ntwo three\n", "one\ntwo\nthree\n"),
        ("  in two three", "  in two\nthree"),
        ("a 123456789012 b", "a\n123456789012\nb"),
        ("東京は日本の首都", "東京は日\n本の首都"),
        (
            "a\u0301b\u0301c\u0301 d\u0301e\u0301f\u0301g\u0301",
            "a\u0301b\u0301c\u0301 d\u0301e\u0301f\u0301g\u0301",
        ),
        ("one  \n  two  ", "one  \n  two  "),
        ("```\nif one and two:\n```\none two three", "```\nif one and two:\n```\none two\nthree"),
        ("", ""),
    ],
)
def test_words_stay_whole(text: str, shown: str) -> None:
    for seed in range(20):
        assert wrapped(text, 8, random.Random(seed)) == shown


def test_only_blanks_become_line_breaks_and_lines_fit() -> None:
    source = random.Random(7)
    for _ in range(300):
        words = ["x" * source.randint(1, 12) for _ in range(source.randint(1, 40))]
        text = "".join(word + source.choice([" ", " ", "  ", "\n"]) for word in words)
        width = source.randint(12, 40)
        shown = wrapped(text, width, source)
        assert shown.split() == words
        assert all(columns(line.rstrip()) <= width for line in shown.splitlines())
