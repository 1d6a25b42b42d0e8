"""The models in Ollama's layout, and their answers."""

from __future__ import annotations

import json
import lzma
import struct
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


def gemma3_as_ollama_writes_it(source: Path, target: Path) -> Path:
    """Write a Gemma 3 of llama.cpp's layout in Ollama's: its bases of rope have names of their own.

    The new keys are inserted before the others, padded to the alignment of the tensors.
    """
    data = source.read_bytes()
    own = b"gemma3.rope.freq_base"
    there = struct.pack("<Q", len(own)) + own
    assert data.count(there) == 1
    data = data.replace(there, struct.pack("<Q", len(own)) + b"gemma3.rope.no_longer")
    (count,) = struct.unpack("<Q", data[16:24])
    keys = _float(b"gemma3.rope.global.freq_base", 1e6) + _float(
        b"gemma3.rope.local.freq_base", 1e4
    )
    filler = _key(b"general.filler", 8)
    keys += filler + struct.pack("<Q", size := -(len(keys) + len(filler) + 8) % 32) + b" " * size
    target.write_bytes(data[:16] + struct.pack("<Q", count + 3) + keys + data[24:])
    return target


def _key(name: bytes, kind: int) -> bytes:
    return struct.pack("<Q", len(name)) + name + struct.pack("<I", kind)


def _float(name: bytes, value: float) -> bytes:
    return _key(name, 6) + struct.pack("<f", value)
