"""Examples are earlier turns of the conversation, in the words of the prompt."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import jupyter_ollama_magics.accessor  # noqa: F401
import pandas as pd
import pytest
from jupyter_ollama_magics.rows.sentences import sentence_and_template
from pydantic import BaseModel
from row_server import RowServer

ROWS = pd.Series(["x", "y"], name="review")
FRAME = pd.DataFrame({"a": ["x"], "b": [2.5]})


def turns(server: RowServer) -> list[tuple[str, str]]:
    """Return the messages before the row, as questions and answers; all bodies have the same."""
    found = set()
    for body in server.bodies:
        shown = [one["content"] for one in body["messages"][:-1] if one["role"] != "system"]
        assert [one["role"] for one in body["messages"]][-1] == "user"
        found.add(tuple(zip(shown[::2], shown[1::2], strict=True)))
    server.bodies.clear()
    (only,) = found
    return list(only)


@dataclass
class Note:
    n: int


class Mood(BaseModel):
    mood: str


def test_examples_of_chat_fill_the_prompt(echo: RowServer) -> None:
    ROWS.ollama.chat("Say: {review}", examples=[("p", "P!"), ("q", 7)])
    assert turns(echo) == [("Say: p", "P!"), ("Say: q", "7")]
    FRAME.ollama.chat("{a} of {b:.1f}", examples=[({"a": "p", "b": 3, "c": 0}, "P")])
    assert turns(echo) == [("p of 3.0", "P")]
    FRAME.ollama.chat("a", examples=[("p", "P")])
    assert turns(echo) == [("p", "P")]
    FRAME.ollama.chat("Only {a}", examples=[(pd.Series({"a": "p"}), "P")])
    assert turns(echo) == [("Only p", "P")]


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        (Note, Note(3)),
        (Note, {"n": 3}),
        (Mood, Mood(mood="glad")),
        ({"properties": {"when": {"type": "string"}}}, {"when": pd.Timestamp("2024-02-03")}),
    ],
)
def test_examples_of_extract_are_json(echo: RowServer, schema: Any, answer: Any) -> None:
    echo.answer = lambda text: '{"n": 1}' if schema is Note else '{"mood": "sad", "when": "now"}'
    ROWS.ollama.extract(schema, examples=[("p", answer)])
    ((text, shown),) = turns(echo)
    assert text == "p"
    assert json.loads(shown) in ({"n": 3}, {"mood": "glad"}, {"when": "2024-02-03T00:00:00"})
    ROWS.ollama.chat(schema=schema, examples=[("p", answer)])
    assert turns(echo) == [(text, shown)]


def test_examples_of_labels_levels_and_statements(echo: RowServer) -> None:
    echo.answer = lambda text: '"2"'
    ROWS.ollama.classify([1, 2], examples=[("p", 1)])
    assert turns(echo) == [("p", '"1"')]
    with pytest.warns(UserWarning, match="score:"):
        ROWS.ollama.score("how {review} is it?", levels=[1, 2], examples=[("p", 2)])
    assert turns(echo) == [("p", '"2"')]
    echo.answer = lambda text: '"yes"'
    ROWS.ollama.filter("{review} is bad", examples=[("p", True), ("q", "No")])
    assert turns(echo) == [("p", "yes"), ("q", "no")]
    echo.answer = lambda text: '["a"]'
    ROWS.ollama.classify(["a", "b"], multi=True, examples=[("p", ["b", "a"]), ("q", [])])
    assert turns(echo) == [("p", '["b", "a"]'), ("q", "[]")]


def test_descriptions_of_labels_are_in_the_system_message(echo: RowServer) -> None:
    echo.answer = lambda text: '"pet"'
    labels = {"pet": "animals at home", "money": "prices and taxes"}
    found = ROWS.ollama.classify(labels)
    assert found.cat.categories.tolist() == ["pet", "money"]
    system = echo.bodies[0]["messages"][0]["content"]
    assert system.endswith("\n- pet: animals at home\n- money: prices and taxes")


@pytest.mark.parametrize(
    ("sentence", "words", "template"),
    [
        ("{text} is a complaint", "The text is a complaint", "{text}"),
        ("how urgent is {review}?", "how urgent is the review?", "{review}"),
        ("is the {review} bad?", "is the review bad?", "{review}"),
        ("a complaint", "a complaint", "{text}"),
        ("{} is {{text}}", "The text is {text}", "{}"),
    ],
)
def test_sentences_about_a_series(sentence: str, words: str, template: str) -> None:
    assert sentence_and_template(sentence, ROWS) == (words, template)


def test_sentences_about_a_frame(echo: RowServer) -> None:
    assert sentence_and_template("{b:.0f} is low", FRAME) == ("The b is low", "{b:.0f}")
    words, template = sentence_and_template("{a} and {b:.1f} or {a}", FRAME)
    assert (words, template) == ("a and b or a", "a: {a}\nb: {b:.1f}")
    echo.answer = lambda text: '"yes"'
    with pytest.warns(UserWarning, match=r"No column has the name of \{c\}"):
        FRAME.ollama.filter("{a} and {b:.1f} in {c}")
    assert echo.bodies[0]["messages"][1]["content"] == "a: x\nb: 2.5"
