"""The request of ``%ollama create``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jupyter_ollama_client.modelfile import Command, Modelfile, parse
from jupyter_ollama_client.upload import Uploader

from . import arguments
from .failures import OllamaMagicsError

USAGE = "Usage: %ollama create NAME FROM, %ollama create NAME -f MODELFILE, or a cell of %%ollama"


def request(
    uploader: Uploader,
    base: str,
    file: str,
    cell: str | None,
    *,
    system: str | None,
    parameter: Sequence[str] | None,
    quantize: str | None,
) -> dict[str, Any]:
    """Upload the files of a new model and return the body of its create request."""
    parameters = arguments.parameters(parameter, "%ollama")
    try:
        modelfile, folder = _modelfile(base, file, cell)
        body = uploader.request(modelfile, folder)
    except OSError as error:
        raise OllamaMagicsError(f"{error.filename}: {error.strerror}.") from error
    if system is not None:
        body["system"] = system
    if parameters:
        body["parameters"] = {**body.get("parameters", {}), **parameters}
    return {**body, "quantize": quantize}


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
