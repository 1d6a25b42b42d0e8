"""The models in Ollama's layout, and their answers."""

from __future__ import annotations

import json
import lzma
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data" / "ollama-layout"

NAMES = sorted(path.name.removesuffix(".gguf.xz") for path in DATA.glob("*.gguf.xz"))
PROJECTORS = {"llava_projector": "olmo3"}
"""Projectors that are files of their own, and the language model each belongs to."""


def unpack(name: str, folder: Path) -> Path:
    """Return a model as a file in ``folder``."""
    path = folder / f"{name}.gguf"
    if not path.exists():
        path.write_bytes(lzma.decompress((DATA / f"{name}.gguf.xz").read_bytes()))
    return path


@cache
def truth(name: str) -> dict[str, Any]:
    """Return the expected answers of a model, by the kind of request."""
    found = json.loads((DATA / f"{name}.json").read_text())["truth"]
    # The file with the first order of MXFP4 answers as the other one.
    return found if isinstance(found, dict) else truth(found.split()[1].removesuffix(".json"))
