"""The operators that LOTUS documents for whole tables, on real small models and data made here."""

from __future__ import annotations

import jupyter_ollama_magics.accessor  # noqa: F401
import pandas as pd
import pytest

pytestmark = pytest.mark.usefixtures("real")

EVENING_CLASSES = pd.DataFrame(
    {
        "title": [
            "Baking bread with sourdough",
            "Repairing bicycles",
            "Watercolours of landscapes",
            "Statistics with Python",
        ],
        "place": ["kitchen", "workshop", "studio", "library"],
    }
)
WISHES = pd.DataFrame({"wish": ["I want to paint", "I want to analyse data"]})
PLOTS = pd.Series(
    [
        "A shark terrorises a beach town in summer.",
        "In summer, a beach town is terrorised by a shark.",
        "Two robots fall in love on an empty Earth.",
        "A chef opens a restaurant with a rat.",
    ],
    name="plot",
)


@pytest.fixture
def real(chat_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the accessors find the real server."""
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", chat_server)


def test_sem_agg() -> None:
    """``df.sem_agg("Summarize all {title}")``, and with ``group_by``."""
    short = {"num_predict": 16}
    summary = EVENING_CLASSES.ollama.agg("Summarise all {title}", "smollm2", options=short)
    assert len(summary) > 5
    assert summary.report["calls"] == 1
    by_place = EVENING_CLASSES.ollama.agg("Summarise {title}", "smollm2", by="place", options=short)
    assert by_place.index.tolist() == ["kitchen", "library", "studio", "workshop"]
    assert by_place.str.len().min() > 0


def test_sem_join() -> None:
    """``df1.sem_join(df2, "Taking {title:left} will help me with {wish:right}")``."""
    found = EVENING_CLASSES.ollama.join(
        WISHES,
        "The class {left.title} helps someone who says: {right.wish}",
        "smollm2",
        embed_model="all-minilm",
        threshold=0,
    )
    assert found.attrs["join"]["asked"] == 8
    # A model of 135M parameters decides badly; the similarity orders the pairs.
    best = found.sort_values("similarity").groupby("wish").last()
    assert best.title.to_dict() == {
        "I want to analyse data": "Statistics with Python",
        "I want to paint": "Watercolours of landscapes",
    }
    assert found.probability.between(0, 1).all()


def test_sem_sim_join() -> None:
    """``df1.sem_sim_join(df2, left_on="title", right_on="wish", K=1)``."""
    found = WISHES.ollama.sim_join(EVENING_CLASSES, ("wish", "title"), 1, "all-minilm")
    assert found.title.tolist() == ["Watercolours of landscapes", "Statistics with Python"]
    assert found.similarity.gt(0.1).all()


def test_sem_dedup() -> None:
    """``df.sem_dedup("plot", threshold=0.8)``."""
    assert PLOTS.ollama.dedupe(0.8, "all-minilm").index.tolist() == [0, 2, 3]
    groups = PLOTS.to_frame().ollama.dedupe("plot", 0.8, "all-minilm", into="dup")
    assert groups.dup_group.tolist() == [0, 0, 1, 2]
