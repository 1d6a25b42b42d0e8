"""What ``%ollama create`` makes a model of."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from . import arguments
from .failures import OllamaMagicsError
from .modelfile import Command, Modelfile, parse
from .upload import Uploader

USAGE = "Usage: %ollama create NAME FROM, %ollama create NAME -f MODELFILE, or a cell of %%ollama"


def request(uploader: Uploader, base: str, args: argparse.Namespace) -> dict[str, Any]:
    """Upload what a model is made of and return the body of a create request."""
    parameters = arguments.parameters(args.parameter, "%ollama")
    try:
        modelfile, folder = _modelfile(base, args.file, args.cell)
        body = uploader.request(modelfile, folder)
    except OSError as error:
        raise OllamaMagicsError(f"{error.filename}: {error.strerror}.") from error
    if args.system is not None:
        body["system"] = args.system
    if parameters:
        body["parameters"] = {**body.get("parameters", {}), **parameters}
    return {**body, "quantize": args.quantize}


def _modelfile(base: str, file: str, cell: str | None) -> tuple[Modelfile, Path]:
    """Return a Modelfile and the folder that its paths count from."""
    if bool(base) + bool(file) + (cell is not None) > 1:
        raise OllamaMagicsError(f"{USAGE}, one of the three.")
    if cell is not None:
        return parse(cell), Path.cwd()
    if base:
        return Modelfile([Command("from", base)]), Path.cwd()
    path = Path(file or "Modelfile").expanduser()
    if not file and not path.exists():
        raise OllamaMagicsError(f"{USAGE}.")
    return parse(path.read_bytes()), path.resolve().parent
