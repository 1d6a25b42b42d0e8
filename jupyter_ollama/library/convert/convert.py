"""Choosing the converter that a model needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class ConversionError(ValueError):
    """A model that cannot be converted; the text says why."""


def convert(folder: Path, target: Path) -> None:
    """Write the model in ``folder`` (safetensors files, config.json, vocabulary) as one GGUF.

    Raises ConversionError.
    """
    from . import bert

    config = read_json(folder / "config.json")
    names = config.get("architectures") or ["unknown"]
    if names[0] not in bert.ARCHITECTURES:
        raise ConversionError(f'unsupported architecture "{names[0]}"')
    bert.convert(folder, config, target)


def read_json(path: Path) -> Any:
    """Read a JSON file of the model. Raises ConversionError if it is missing or faulty."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConversionError(f"{path.name} is missing") from None
    except ValueError as error:
        raise ConversionError(f"{path.name} is not valid JSON: {error}") from None
