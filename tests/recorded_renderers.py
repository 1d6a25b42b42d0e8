"""The prompts of Ollama's built-in renderers, as recorded in ``data/renderers``."""

from __future__ import annotations

import json
import lzma
from datetime import date
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data" / "renderers"

NAMES = sorted(
    path.name.removesuffix(".json.xz") for path in DATA.glob("*.xz") if path.name[0] != "_"
)
"""The renderers that were recorded."""

PARSERS = {"deepseek3.1": "deepseek3", "gemma4-large": "gemma4", "gemma4-small": "gemma4"} | {
    "olmo3.1": "olmo3",
    "olmo3-32b-think": "olmo3-think",
    "qwen3.8": "qwen3.5",
}
"""The parsers of models whose renderer has another name than their parser."""


SERVER, RANDOM = "_server", "_random"
"""Further recordings: requests to several models, and random conversations."""


def recorded(name: str) -> list[dict[str, Any]]:
    """Return the cases of a renderer, or those of SERVER or RANDOM."""
    data = json.loads(lzma.decompress((DATA / f"{name}.json.xz").read_bytes()))
    cases: list[dict[str, Any]] = data["cases"] if isinstance(data, dict) else data
    return cases


def right(case: dict[str, Any], *, alone: bool = False) -> list[str]:
    """Return all texts that are right for a case, errors as ``error: ...``.

    Where the server refuses a request, the text of the renderer ``alone`` is recorded too.
    """
    text = case.get("renderer_alone" if alone and "rendered" not in case else "rendered")
    texts = [f"error: {case['error']}" if text is None else text, *case.get("also", [])]
    return [today(text) for text in texts]


def today(text: str) -> str:
    """Put today's date into a recorded text."""
    return text.replace("%TODAY%", date.today().isoformat())
