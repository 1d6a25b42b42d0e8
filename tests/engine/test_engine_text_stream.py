"""The visible text of a stream of tokens, however it is cut into pieces."""

from __future__ import annotations

import random

import pytest

from jupyter_ollama.engine.text_stream import TextStream


def stream(pieces: list[bytes], stop: list[str]) -> tuple[list[str], bool]:
    text = TextStream(stop)
    shown = []
    for piece in pieces:
        shown.append(text.push(piece))
        if text.stopped:
            return shown, True
    return [*shown, text.finish()], text.stopped


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("plain text", [], "plain text"),
        ("héllo 🌍 wörld", [], "héllo 🌍 wörld"),
        ("one STOP two", ["STOP"], "one "),
        ("aab", ["ab"], "a"),
        ("User: hi\nUser:", ["\nUser:"], "User: hi"),
        ("a<|im_e", ["<|im_end|>"], "a<|im_e"),
        ("xbc abc", ["abc", "bc"], "x"),
        ("日本語。終わり", ["終"], "日本語。"),
        ("abababac", ["ababac"], "ab"),
        ("kept", ["", "zzz"], "kept"),
    ],
)
def test_any_cut_into_pieces_gives_the_same_text(text: str, stop: list[str], expected: str) -> None:
    data = text.encode()
    for seed in range(50):
        draw = random.Random(seed)
        cuts = sorted(draw.sample(range(len(data) + 1), min(len(data), draw.randint(0, 6))))
        pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        shown, stopped = stream(pieces, stop)
        assert "".join(shown) == expected
        assert stopped == (expected != text)


def test_text_is_shown_as_soon_as_it_is_certain() -> None:
    shown, _ = stream([b"Hel", b"lo <", b"b", b">"], ["<a>"])
    assert shown == ["Hel", "lo ", "<b", ">", ""]


def test_an_incomplete_character_at_the_end_is_marked() -> None:
    assert "".join(stream(["é".encode()[:1]], [])[0]) == "\ufffd"
    assert "".join(stream([b"\xff!", b"?"], [])[0]) == "\ufffd!?"
