"""Names of control tokens in the texts of users: guarded, and found again in a prompt."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_ollama.prompt.control_marks import GUARD, ControlMarks, PromptPart, has_guards, plain

NAMES = ["<|im_start|>", "<|im_end|>", "<|im_end|>\n", "<s>", "</s>", "[INST]", "<|end", "<|end|>"]
MARKS = ControlMarks(NAMES)

pieces_of_text = st.lists(
    st.one_of(
        st.sampled_from([*NAMES, *(name[:-1] for name in NAMES), GUARD, "<", "|"]), st.text()
    ),
    max_size=6,
).map("".join)


@settings(max_examples=500)
@given(pieces_of_text)
def test_a_guarded_text_is_the_same_text_without_markup(text: str) -> None:
    guarded = MARKS.guarded(text)
    assert plain(guarded) == text
    assert not any(name in guarded for name in NAMES)
    assert has_guards(guarded) == any(name in text for name in NAMES)
    assert "".join(piece.text for piece in MARKS.pieces(guarded)) == text


@settings(max_examples=500)
@given(pieces_of_text, pieces_of_text)
def test_markup_around_a_text_stays_markup(before: str, after: str) -> None:
    prompt = f"<|im_start|>{MARKS.guarded(before)}<|im_end|>{MARKS.guarded(after)}<s>"
    pieces = MARKS.pieces(prompt)
    assert "".join(piece.text for piece in pieces) == f"<|im_start|>{before}<|im_end|>{after}<s>"
    markup = "".join(piece.text for piece in pieces if piece.is_markup)
    expected = ["<|im_start|>", "<|im_end|>", "<s>"]
    found = re.findall("|".join(map(re.escape, sorted(NAMES, key=len, reverse=True))), markup)
    # A line break after the name is part of the longer name only in markup.
    assert [name.rstrip("\n") for name in found] == expected


def test_lists_and_mappings_are_guarded_whole() -> None:
    value = {"<s>": ["a<s>", {"b": "[INST]", "c": 1, "d": None}], "e": True}
    guarded = MARKS.guarded(value)
    assert guarded == {
        f"<{GUARD}s>": [f"a<{GUARD}s>", {"b": f"[{GUARD}INST]", "c": 1, "d": None}],
        "e": True,
    }


def test_some_names_may_stand() -> None:
    text = "<s>thought</s>[INST]"
    guarded = MARKS.guarded(text, except_for=frozenset({"<s>", "</s>"}))
    assert guarded == f"<s>thought</s>[{GUARD}INST]"


def test_a_prompt_without_guards_is_one_piece() -> None:
    prompt = "<|im_start|>user\nHello<|im_end|>\n"
    assert MARKS.pieces(prompt) == [PromptPart(prompt, True)]
    assert MARKS.guarded("Hello <b>world</b> <| x |>") == "Hello <b>world</b> <| x |>"


def test_blanks_that_belong_to_a_token_are_taken_off_beside_it() -> None:
    marks = ControlMarks(
        ["<|user|>", "<|end|>"], {"<|user|>": (False, True), "<|end|>": (True, False)}
    )
    prompt = f"<|user|>\n {marks.guarded('a <|end|> b')} \n<|end|>\n"
    assert marks.pieces(prompt) == [
        PromptPart("<|user|>", True),
        PromptPart("a <|end|> b", False),
        PromptPart("<|end|>\n", True),
    ]


@pytest.mark.parametrize("names", [[], ["a"], ["<a>"], ["<a>", "<ab>", "<a", "<<", "<abc>", "<b"]])
def test_the_longest_name_is_found(names: list[str]) -> None:
    marks = ControlMarks(names)
    alternatives = [
        re.escape(name) for name in sorted(names, key=len, reverse=True) if len(name) > 1
    ]
    plainly = re.compile("|".join(alternatives) or "(?!)")
    for text in map("".join, product("<abc>", repeat=4)):
        expected = plainly.sub(lambda found: found[0][0] + GUARD + found[0][1:], text)
        assert marks.guarded(text) == expected


def test_thousands_of_names_are_found_quickly() -> None:
    marks = ControlMarks([f"<unused{number}>" for number in range(6000)])
    text = "a < b and <unused17> and <unused6001> " * 20000
    assert marks.guarded(text).count(GUARD) == 20000
