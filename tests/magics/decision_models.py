"""Models with known answers to the questions of filter, score, classify and rank."""

from __future__ import annotations

from pathlib import Path

from deciding_model import write_decisions
from store_models import add_model

from jupyter_ollama.library.library import Library

ODDS = {
    "plain": {"yes": 0.2, "no": 0.8, "low": 0.7, "medium": 0.2, "high": 0.1},
    "broke": {"yes": 0.9, "no": 0.1, "low": 0.2, "medium": 0.5, "high": 0.3},
    "fire": {"yes": 0.6, "no": 0.4, "low": 0.05, "medium": 0.15, "high": 0.8},
    "Calculus": {"yes": 0.5, "Yes": 0.4, "no": 0.06, "No": 0.04},
}
"""The probabilities of answers by a word of the row, "plain" without one of them."""

FITS = {"fits": {"yes": 0.9, "no": 0.1}, "fails": {"yes": 0.3, "no": 0.7}}
FITTING = (
    "{% set asked = messages[-1].content %}"
    "{% set fits = ('rain' in asked and 'weather?' in asked)"
    " or ('goal' in asked and 'sport?' in asked) %}<|{{ 'fits' if fits else 'fails' }}|>"
)
"""The label weather fits texts with "rain", the label sport those with "goal"."""

HASTY = {"more": {"1": 0.95, "2": 0.05}, "less": {"1": 0.6, "2": 0.4}}
"""Answers about two texts that end with numbers: always 1, more surely if it is the larger."""

LARGER = (
    "{% set texts = messages[-1].content.split('\\n\\nText 2:\\n') %}"
    "{% set one = texts[0].split(' ')[-1] | int %}{% set other = texts[1].split(' ')[-1] | int %}"
    "<|{{ 'more' if one > other else 'less' }}|>"
)


def fill(folder: Path, library: Library) -> None:
    """Add "judge" (filter, score, one label), "tagger" (several labels) and "hasty" (rank)."""
    add_model(library, "judge", write_decisions(folder / "judge.gguf", ODDS))
    tagger = write_decisions(folder / "tagger.gguf", FITS, choice=FITTING)
    add_model(library, "tagger", tagger)
    add_model(library, "hasty", write_decisions(folder / "hasty.gguf", HASTY, choice=LARGER))
