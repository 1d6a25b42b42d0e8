"""The process that converts a model; see the package."""

from __future__ import annotations

import sys
from pathlib import Path

from ..child import UNSUITABLE
from .convert import convert
from .model_folder import ConversionError

if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m jupyter_ollama.library.convert DIR OUT.gguf")
    try:
        convert(Path(sys.argv[1]), Path(sys.argv[2]))
    except ConversionError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(UNSUITABLE)
