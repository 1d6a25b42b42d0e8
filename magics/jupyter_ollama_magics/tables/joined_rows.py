"""The table of a join: the rows of two tables side by side, as ``merge`` of pandas puts them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..failures import OllamaMagicsError

HOW = ("inner", "left", "right", "outer")


def check(how: object, suffixes: object) -> None:
    """Raise OllamaMagicsError for invalid arguments."""
    if how not in HOW:
        raise OllamaMagicsError(f"how is one of {', '.join(HOW)}.")
    is_pair = isinstance(suffixes, tuple | list) and len(suffixes) == 2
    if not is_pair or not all(isinstance(one, str) for one in suffixes):  # type: ignore[attr-defined]
        raise OllamaMagicsError('suffixes are two texts, such as ("_left", "_right").')


def side_by_side(
    left: pd.DataFrame,
    right: pd.DataFrame,
    rows: np.ndarray,
    places: np.ndarray,
    values: Mapping[str, np.ndarray],
    how: str = "inner",
    suffixes: tuple[str, str] = ("_left", "_right"),
) -> pd.DataFrame:
    """Return left ``rows`` beside right ``places``, and ``values`` of each pair in new columns.

    Columns that both have get the suffixes. Rows without a pair follow as ``how`` says, with
    missing values on the other side.
    """
    alone_left = _others(len(left) if how in ("left", "outer") else 0, rows)
    alone_right = _others(len(right) if how in ("right", "outer") else 0, places)
    rows = np.concatenate([rows, alone_left, np.full(len(alone_right), -1)]).astype(int)
    places = np.concatenate([places, np.full(len(alone_left), -1), alone_right]).astype(int)
    both = set(left.columns) & set(right.columns)
    parts = [
        _taken(left, rows).rename(columns={name: f"{name}{suffixes[0]}" for name in both}),
        _taken(right, places).rename(columns={name: f"{name}{suffixes[1]}" for name in both}),
    ]
    result = pd.concat(parts, axis=1)
    missing = len(rows) - len(next(iter(values.values())))
    for name, numbers in values.items():
        while name in result.columns:
            name += "_"
        result[name] = np.concatenate([numbers, np.full(missing, np.nan)])
    return result


def _others(number: int, rows: np.ndarray) -> np.ndarray:
    return np.setdiff1d(np.arange(number), rows)


def _taken(frame: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    """Return rows of a frame by number, missing for -1."""
    plain = frame.reset_index(drop=True)
    if (rows < 0).any():
        # A row number that the frame does not have makes a missing row, as in merge.
        return plain.reindex(rows).reset_index(drop=True)
    return plain.take(rows).reset_index(drop=True)
