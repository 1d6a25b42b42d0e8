"""Checks of the arguments of row operators, before a row is sent."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from jupyter_ollama_client.parameters import unknown

from ..failures import OllamaMagicsError

GREEDY = {"temperature": 0}
"""The options of operators whose answer is chosen from few."""


def check_settings(system: Any, options: Any) -> None:
    """Raise OllamaMagicsError for invalid values; warn of options that no server knows."""
    if system is not None and not isinstance(system, str):
        raise OllamaMagicsError(f"system is a text, not {type(system).__name__}.")
    if options is None:
        return
    try:
        named = isinstance(options, dict) and all(isinstance(name, str) for name in options)
        json.dumps(options)
    except (TypeError, ValueError):
        named = False
    if not named:
        raise OllamaMagicsError('options is a dict, such as {"temperature": 0.5}.')
    for warning in unknown(options):
        warnings.warn(f"{warning}.", stacklevel=2)


def check_flags(**flags: Any) -> None:
    """Raise OllamaMagicsError unless all arguments are True or False."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise OllamaMagicsError(f"{name} is True or False.")


def check_threshold(threshold: Any) -> float:
    """Return a probability. Raises OllamaMagicsError."""
    is_number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if not is_number or not 0 <= threshold <= 1:
        raise OllamaMagicsError("threshold is a probability, from 0 to 1.")
    return float(threshold)


def check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Raise OllamaMagicsError unless an argument is one of the allowed words."""
    if value not in allowed:
        *others, last = (f'"{one}"' for one in allowed)
        raise OllamaMagicsError(f"{name} is {', '.join(others)} or {last}.")


def labels_by_text(labels: Iterable[Any], operator: str = "classify") -> dict[str, Any]:
    """Return the labels by their text. Raises OllamaMagicsError for invalid labels."""
    if isinstance(labels, str | bytes) or not isinstance(labels, Iterable):
        raise OllamaMagicsError('labels is a list, such as ["yes", "no"].')
    given: dict[str, Any] = {}
    for label in labels:
        if pd.api.types.is_scalar(label) and pd.isna(label):
            raise OllamaMagicsError("One of the labels is missing (NaN): leave it out by dropna().")
        text = str(label)
        if not text.strip():
            raise OllamaMagicsError("One of the labels is empty.")
        try:
            hash(label)
            alike = text in given and bool(given[text] != label)
            pd.Categorical([], categories=[*given.values(), label] if text not in given else [])
        except (TypeError, ValueError):
            alike = True
        if alike:
            raise OllamaMagicsError(f"The label {label!r} is like another, or not a single value.")
        given[text] = label
    if not given:
        raise OllamaMagicsError(f"{operator} needs at least one label.")
    return given


def meanings_of(labels: Any) -> dict[str, str]:
    """Return the descriptions of labels that are given as a mapping, by the text of the label."""
    if not isinstance(labels, Mapping):
        return {}
    if not all(isinstance(meaning, str) and meaning.strip() for meaning in labels.values()):
        raise OllamaMagicsError('The descriptions of labels are texts: {"pet": "about animals"}.')
    return {str(label): meaning for label, meaning in labels.items()}


def label_text(label: Any, given: Mapping[str, Any], what: str) -> str:
    """Return the text of one of the labels that are given. Raises OllamaMagicsError."""
    text = str(label)
    if text not in given:
        raise OllamaMagicsError(f"{what} has the label {text!r}, which is not one of the labels.")
    return text
