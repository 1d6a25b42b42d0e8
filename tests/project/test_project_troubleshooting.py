"""The error texts of the troubleshooting page are those of the code."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
TEXTS = re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE)
GAP = "…"


@cache
def strings() -> str:
    """Return all strings of the distributions, one a line, with a gap for each field."""
    found = []
    for folder in ("jupyter_ollama", "magics"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [v.value if isinstance(v, ast.Constant) else GAP for v in node.values]
                    found.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return "\n".join(text.replace("\n", " ") for text in found)


@pytest.mark.parametrize("text", TEXTS)
def test_the_code_has_this_text(text: str) -> None:
    # A gap of the page may hold a field, more text of the same string, or nothing.
    pattern = ".*".join(re.escape(part) for part in text.split(GAP))
    assert re.search(pattern, strings()), text


def test_the_page_has_texts() -> None:
    assert len(TEXTS) >= 15
