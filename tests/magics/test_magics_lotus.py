"""The documented examples of LOTUS's filter, extract and top-k, in the manner of this API.

The data are other ones. A small real model runs them all; where an answer must be right, a model
with known answers gives it.
"""

from __future__ import annotations

from typing import Any

import jupyter_ollama_magics.accessor  # noqa: F401
import pandas as pd
import pytest

COURSES = pd.DataFrame(
    {
        "Course Name": [
            "Calculus for Bakers",
            "Knots and Ropes",
            "Watercolours at Dawn",
            "Advanced Calculus",
        ]
    }
)
MATHS = "{Course Name} requires a lot of math"
CLUBS = pd.DataFrame(
    {
        "description": [
            "Riverside Rovers is a football club from Ashford, founded in 1921.",
            "The Harbour Swifts play hockey in Port Ellis since 1987.",
        ]
    }
)
CLUB = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "The name of the sports club"},
        "founded": {"type": "integer", "description": "The year when it was founded"},
        "quote": {"type": "string", "description": "The words of the text that tell the name"},
    },
    "required": ["name", "founded", "quote"],
}


@pytest.fixture(autouse=True)
def url(decision_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Point the accessors to a real server."""
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", decision_server)
    return decision_server


def test_filter_keeps_the_rows_of_which_a_sentence_is_true() -> None:
    kept = COURSES.ollama.filter(MATHS, "judge")
    assert kept["Course Name"].tolist() == ["Calculus for Bakers", "Advanced Calculus"]
    assert kept.index.tolist() == [0, 3]


def test_filter_returns_a_decision_for_every_row() -> None:
    judged = COURSES.ollama.filter(MATHS, "judge", returns="mask", into="math_heavy")
    assert judged.columns.tolist() == ["Course Name", "math_heavy"]
    assert judged["math_heavy"].tolist() == [True, False, False, True]


def test_filter_with_examples_and_an_instruction() -> None:
    kept = COURSES.ollama.filter(
        MATHS,
        "smollm2",
        threshold=0,
        examples=[("Linear Algebra", True), ("Pottery", False)],
        system="You advise students. Answer yes or no.",
        into="odds",
    )
    assert kept["Course Name"].tolist() == COURSES["Course Name"].tolist()
    assert kept["odds"].between(0, 1).all()
    assert kept["odds"].nunique() == 4


def test_extract_reads_described_columns() -> None:
    found = CLUBS.ollama.extract(CLUB, "description", "smollm2", into="club")
    assert found.columns.tolist() == ["description", "club_name", "club_founded", "club_quote"]
    assert found["club_founded"].dtype == "Int64"
    assert found["club_founded"].tolist() == [1921, 1987]


@pytest.mark.parametrize("method", ["pairs", "score"])
def test_the_first_rows_by_a_question(method: Any) -> None:
    best = COURSES.ollama.rank(
        "Which {Course Name} requires the least math?", k=2, model="smollm2", method=method
    )
    assert best["rank"].tolist() == [1, 2]
    assert set(best["Course Name"]) <= set(COURSES["Course Name"])
    assert best.attrs["rank"]["calls"] <= 2 * (3 + 2)


def test_the_first_rows_in_a_known_order() -> None:
    shelf = pd.DataFrame({"Book Title": [f"Volume {number}" for number in (4, 12, 7, 1, 9)]})
    best = shelf.ollama.rank("Which {Book Title} is the latest?", k=2, model="hasty")
    assert best["Book Title"].tolist() == ["Volume 12", "Volume 9"]
    assert best.attrs["rank"]["calls"] < 5 * 4  # asking about all pairs in both orders
