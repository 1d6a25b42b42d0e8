"""Quantize a GGUF file: ``python -m jupyter_ollama.engine.quantize SOURCE TARGET TYPE``.

Types have the names of ``general.file_type`` (Q4_0, Q4_K_M, Q8_0, F16, ...), in any case. Quantized
files are accepted, too. A file in Ollama's layout keeps it, and its vision tower is not changed.
Progress is a line for each tensor on standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ..library import child_process

_PROBE = 2**20
"""Bytes written to test for a full disk: more than a failed write may leave free."""


def run(source: Path, target: Path, type_name: str) -> Iterator[str]:
    """Write ``target`` in a child process, yielding its lines of progress. Raises OllamaError."""
    return child_process.run(__name__, str(source), str(target), type_name)


def main(source: str, target: str, type_name: str) -> int:
    """Write ``target`` with all cores and return the exit status."""
    from ..layout.model_file import ModelFile
    from ..library.gguf_types import FILE_TYPES

    types = {name: number for number, name in FILE_TYPES.items()}
    if type_name.upper() not in types:
        sys.exit(f"unknown type {type_name}; known are {', '.join(types)}")
    number = types[type_name.upper()]
    file = ModelFile(Path(source))
    if file.translation is None:
        return _quantize(source, target, number)
    # Beside the target, where the store removes files after a crash.
    view, quantized = (Path(f"{target}.{name}") for name in ("view", "quantized"))
    try:
        with view.open("wb") as stream:
            file.translation.write_to(stream)
        if code := _quantize(str(view), str(quantized), number):
            return code
        view.unlink()
        from ..layout.quantized import restored

        with Path(target).open("wb") as stream:
            restored(file, quantized).write_to(stream)
    finally:
        view.unlink(missing_ok=True)
        quantized.unlink(missing_ok=True)
    return 0


def _quantize(source: str, target: str, number: int) -> int:
    import ctypes

    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = number
    params.nthread = os.cpu_count() or 1
    params.allow_requantize = True
    code: int = llama_cpp.llama_model_quantize(
        source.encode(), target.encode(), ctypes.byref(params)
    )
    if code:
        _check_disk(Path(target))
    return code


def _check_disk(target: Path) -> None:
    """Raise OSError if the disk is full, which llama.cpp does not report."""
    with target.open("ab") as file:
        file.write(bytes(_PROBE))
        file.flush()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
