"""Reading the files of a model that is to be converted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class ConversionError(ValueError):
    """A model that cannot be converted; the text says why."""


def read_json(path: Path) -> Any:
    """Read a JSON file of the model. Raises ConversionError if it is missing or faulty."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConversionError(f"{path.name} is missing") from None
    except ValueError as error:
        raise ConversionError(f"{path.name} is not valid JSON: {error}") from None
