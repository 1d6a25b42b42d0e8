"""The formats that may be faster on a CPU than the one of a model, written for a trial."""

from __future__ import annotations

import re
from pathlib import Path

from ..engine import quantize

BITS = {"Q4_0": 4, "Q8_0": 8}
"""The formats that llama.cpp repacks for the CPU at load, and their bits per weight."""

_QUANTIZED = re.compile(r"I?Q(\d)_")


def bits(file_type: str) -> int | None:
    """Return the bits of a weight as the name of a quantized type has them; None for all others."""
    found = _QUANTIZED.match(file_type)
    return int(found[1]) if found else None


def candidates(file_type: str) -> list[str]:
    """Return formats that may be faster and hold as many bits a weight as ``file_type`` or more.

    There are none for weights that are not quantized, or were trained in their own format.
    """
    own = bits(file_type)
    return [name for name, held in BITS.items() if own and held >= own and name != file_type]


def write(source: Path, type_name: str, folder: Path) -> Path:
    """Quantize a GGUF file into ``folder`` in a child process. Raises OllamaError."""
    target = folder / f"{type_name}.gguf"
    for _ in quantize.run(source, target, type_name):
        pass
    return target
