"""Reading the files of a model that is to be converted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..regular_file import read_regular


class ConversionError(ValueError):
    """A model that cannot be converted; the text gives the reason."""


def read_json(path: Path) -> Any:
    """Read a JSON file of the model. Raises ConversionError if it is missing or faulty."""
    try:
        return json.loads(read_regular(path))
    except FileNotFoundError:
        raise ConversionError(f"{path.name} is missing") from None
    except ValueError as error:
        raise ConversionError(f"{path.name} is not valid JSON: {error}") from None


def read_optional(path: Path) -> dict[str, Any]:
    """Read a JSON object; a missing file is empty. Raises ConversionError."""
    found = read_json(path) if path.exists() else {}
    if not isinstance(found, dict):
        raise ConversionError(f"{path.name} is not a JSON object")
    return found


class Config:
    """The settings in config.json, including those of the text part of a multimodal model."""

    def __init__(self, values: Mapping[str, Any], prefix: str = "") -> None:
        text = values.get("text_config")
        self._values = {**values, **(text if isinstance(text, dict) else {})}
        self._prefix = prefix
        self.names: list[str] = values.get("architectures") or ["unknown"]

    @classmethod
    def read(cls, folder: Path) -> Config:
        """Read the settings in a folder. Raises ConversionError."""
        values = read_json(folder / "config.json")
        if not isinstance(values, dict):
            raise ConversionError("config.json is not a JSON object")
        return cls(values)

    def with_defaults(self, defaults: Mapping[str, Any]) -> Config:
        """Return the settings with defaults for missing keys."""
        known = {key: value for key, value in self._values.items() if value is not None}
        return Config({**defaults, **known, "architectures": self.names})

    def get(self, key: str, default: Any = None) -> Any:
        """Return a setting; null means absent."""
        value = self._values.get(key)
        return default if value is None else value

    def number(self, key: str) -> int:
        """Return a required integer. Raises ConversionError."""
        value = self._values.get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ConversionError(f"config.json has no {self._prefix}{key}")
        return value

    def part(self, key: str) -> Config | None:
        """Return the settings of a part of the model, None if absent. Raises ConversionError."""
        value = self.get(key)
        if value is not None and not isinstance(value, dict):
            raise ConversionError(f"{key} in config.json is not a JSON object")
        return None if value is None else Config(value, prefix=f"{key}.")

    @property
    def heads(self) -> int:
        """The number of attention heads."""
        return self.number("num_attention_heads")

    @property
    def head_width(self) -> int:
        """The width of an attention head."""
        return int(self.get("head_dim") or self.number("hidden_size") // self.heads)

    @property
    def title(self) -> str:
        """The name under which the model was saved, "" if the config has none."""
        return str(self.get("_name_or_path", "")).rstrip("/").rpartition("/")[2]
