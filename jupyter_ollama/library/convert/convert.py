"""Choosing the converter that a model needs."""

from __future__ import annotations

from pathlib import Path

from .model_folder import ConversionError, read_json


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
