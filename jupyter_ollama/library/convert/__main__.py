"""The process that converts a model or an adapter; see the package."""

from __future__ import annotations

import sys
from pathlib import Path

from ..child_process import UNSUITABLE
from .adapter import convert_adapter
from .convert import convert
from .model_folder import ConversionError

if __name__ == "__main__":
    paths = [Path(argument) for argument in sys.argv[1:]]
    if len(paths) not in (2, 3):
        sys.exit("usage: python -m jupyter_ollama.library.convert DIR OUT.gguf [BASE.gguf]")
    try:
        if len(paths) == 2:
            convert(*paths)
        else:
            convert_adapter(*paths)
    except ConversionError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(UNSUITABLE)
