"""The built-in renderer and parser that a model's config names."""

from __future__ import annotations

import re

from .._version import OLLAMA_API_VERSION
from ..errors import OllamaError
from ..parsing.parsers import named_parser
from ..prompt.renderers.table import RENDERERS
from .manifest import ImageConfig
from .name import ModelName

_GEMMA4_SIZES = {"small": ("e2b", "e4b"), "large": ("12b", "26b", "31b")}
"""Substrings of the names of published models, by the variant of their renderer."""

_LARGE_PARAMETERS = 12e9

_UNITS = {"B": 1e9, "M": 1e6, "K": 1e3}

FORMATS_BY_ARCHITECTURE = {
    "gemma4": "gemma4",
    "laguna": "laguna",
    "nemotron_h": "nemotron-3-nano",
    "nemotron_h_moe": "nemotron-3-nano",
    "nemotron_h_omni": "nemotron-3-nano",
}
"""The renderer, and the parser of the same name, of a new model whose config names none."""

STOP_BY_ARCHITECTURE = {"gemma4": ["<turn|>"]}
"""Their default stop strings."""


def renderer_of(config: ImageConfig, name: ModelName) -> str:
    """Return the renderer of a model, "" if templates make its prompts.

    Raises OllamaError(500) for an unknown name.
    """
    if not config.renderer:
        return ""
    renderer = config.renderer
    if renderer == "gemma4":
        renderer = f"gemma4-{_gemma4_size(config, name)}"
    if renderer not in RENDERERS:
        raise _unknown("renderer", config.renderer, config)
    return renderer


def parser_of(config: ImageConfig) -> str:
    """Return the parser of a model, "" if it has none. Raises OllamaError(500) if unknown."""
    if config.parser and named_parser(config.parser) is None:
        raise _unknown("parser", config.parser, config)
    return config.parser


def _unknown(kind: str, name: str, config: ImageConfig) -> OllamaError:
    required = f" (the model requires Ollama {config.requires})" if config.requires else ""
    return OllamaError(
        500,
        f'unknown {kind} "{name}": this version of jupyter-ollama speaks Ollama '
        f"{OLLAMA_API_VERSION}, which does not know it; a newer version is needed{required}",
    )


def _gemma4_size(config: ImageConfig, name: ModelName) -> str:
    """Choose between Gemma 4's renderers: by the name, else by the number of parameters."""
    for text in (name.display.lower(), name.qualified.lower()):
        for size, parts in _GEMMA4_SIZES.items():
            if any(part in text for part in parts):
                return size
    return "large" if _parameters(config.model_type) >= _LARGE_PARAMETERS else "small"


def _parameters(text: str) -> float:
    """Read a number of parameters as in ``27.4B``; 0 for other texts."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?)([BMK])", text.upper())
    return float(found[1]) * _UNITS[found[2]] if found else 0.0
