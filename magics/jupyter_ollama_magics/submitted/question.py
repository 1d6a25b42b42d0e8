"""What a job asks: the call and its rows, as the first line of its input file keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..failures import OllamaMagicsError
from ..rows import tasks as row_tasks
from ..rows.plan import Plan
from . import index_values

VERSION = 1
FIELD = "job"
"""The field of the first line that has the question; servers ignore it."""


@dataclass(frozen=True)
class Question:
    """A call of an operator on rows.

    Parameters
    ----------
    operator, arguments : str, dict
        The operator and its own arguments, as JSON.
    prompt, model, into, errors : str
        The shared arguments.
    with_files : bool
        Whether the rows have images or sounds.
    name : str, optional
        The name of the Series of the rows.
    columns : list of str, optional
        The columns of the DataFrame of the rows; None for a Series.
    index : dict
        The index of the rows.
    places : list of int
        The number of the distinct text of each row, -1 where it is missing.
    sizes : list of int
        The number of texts of each request, or of each group of requests.
    """

    operator: str
    arguments: dict[str, Any]
    prompt: str | None
    model: str
    into: str | None
    errors: str
    with_files: bool
    name: str | None
    columns: list[str] | None
    index: dict[str, Any]
    places: list[int]
    sizes: list[int]
    version: int = VERSION

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON."""
        return asdict(self)

    @classmethod
    def of_line(cls, line: Mapping[str, Any]) -> Question:
        """Return the question of the first line of an input file. Raises OllamaMagicsError."""
        found = line.get(FIELD)
        if not isinstance(found, dict) or found.get("version") != VERSION:
            raise OllamaMagicsError(
                "This batch was not made by .ollama.submit of this version: fetch its files by "
                "another client."
            )
        return cls(**found)

    def plan(self) -> Plan:
        """Return the Plan of the call, for no rows: its operator reads the answers."""
        shared = {
            "prompt": self.prompt,
            "model": self.model,
            "into": self.into,
            "errors": self.errors,
        }
        if self.columns is None:
            rows: Any = pd.Series([], dtype=object, name=self.name)
        else:
            rows = pd.DataFrame(columns=self.columns, dtype=object)
        plan: Plan = rows.ollama.plan(self.operator, **self.arguments, **shared)
        return plan

    def rows(self) -> pd.DataFrame:
        """Return a DataFrame without columns that has the index of the rows."""
        return pd.DataFrame(index=index_values.from_json(self.index))


def kept(name: str, value: Any) -> Any:
    """Return an argument of an operator as JSON. Raises OllamaMagicsError if that is impossible."""
    if name == "schema" and value is not None:
        return row_tasks.json_schema(value)
    return _json(name, value)


def _json(name: str, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) in index_values.PLAIN:
        return value
    if isinstance(value, pd.DataFrame):
        return _json(name, value.to_dict("records"))
    if isinstance(value, Mapping):
        return {str(key): _json(name, item) for key, item in value.items()}
    if isinstance(value, list | tuple | pd.Series | pd.Index | np.ndarray):
        return [_json(name, item) for item in value]
    raise OllamaMagicsError(
        f"submit cannot keep {name}: {type(value).__name__} is no value of JSON."
    )
