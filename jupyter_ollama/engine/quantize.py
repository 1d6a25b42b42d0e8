"""Quantize a GGUF file: ``python -m jupyter_ollama.engine.quantize SOURCE TARGET TYPE``.

Types are named as in ``general.file_type`` (Q4_0, Q4_K_M, Q8_0, F16, ...), in any case. Files that
are quantized already are accepted too. Progress goes to standard error, a line for each tensor.
"""

from __future__ import annotations

import os
import sys


def main(source: str, target: str, type_name: str) -> int:
    """Write ``target`` with all cores and return the exit status."""
    import ctypes

    import llama_cpp

    from ..library.gguf import FILE_TYPES

    types = {name: number for number, name in FILE_TYPES.items()}
    if type_name.upper() not in types:
        sys.exit(f"unknown type {type_name}; known are {', '.join(types)}")
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = types[type_name.upper()]
    params.nthread = os.cpu_count() or 1
    params.allow_requantize = True
    return llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(params))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
