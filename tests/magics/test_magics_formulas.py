"""Dollars of prices, variables and names are not formulas; formulas stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jupyter_ollama_magics.markdown import safe_markdown

ANSWERS = json.loads((Path(__file__).parents[1] / "data" / "answers.json").read_text("utf-8"))
"""Answers and their markdown; the tests of the chat in JupyterLab use the same file."""


@pytest.mark.parametrize("text", ANSWERS["dollars"])
def test_no_dollars_that_a_page_pairs(text: str) -> None:
    shown = safe_markdown(text)
    assert "$" not in shown
    assert shown.replace("<span>&#36;</span>", "$") == text.replace(r"\$", "$")


@pytest.mark.parametrize("text", ANSWERS["formulas"])
def test_formulas_stay(text: str) -> None:
    assert safe_markdown(text) == text
