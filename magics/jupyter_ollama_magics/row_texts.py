"""The text that is sent for each row."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from .embed import text_of
from .failures import OllamaMagicsError


def plain(column: pd.Series, who: str) -> list[str | None]:
    """Return the texts of a column as they are. Raises OllamaMagicsError for other values."""
    return [text_of(item, row, who) for row, item in column.items()]


def filled(template: str, fields: Mapping[str, pd.Series], default: str | None) -> list[str | None]:
    """Return ``template`` with each row's values, None for rows where one is missing.

    Where the template names no field, the ``default`` one follows it. Raises
    OllamaMagicsError if there is no default.
    """
    names = "|".join(re.escape(name) for name in sorted(fields, key=len, reverse=True))
    pattern = re.compile(rf"\{{(\{{?)({names})(:[^{{}}\n]*)?\}}(\}}?)")
    used = [match[2] for match in pattern.finditer(template) if not (match[1] and match[4])]
    if not used:
        if default is None:
            known = ", ".join(f"{{{name}}}" for name in fields)
            raise OllamaMagicsError(f"The prompt names none of the columns: {known}.")
        template, used = f"{template}\n\n{{{default}}}", [default]
    columns = {name: fields[name] for name in dict.fromkeys(used)}
    gaps = np.logical_or.reduce([column.isna().to_numpy(bool) for column in columns.values()])
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [
        None if gap else pattern.sub(_inserting(dict(zip(columns, row, strict=True))), template)
        for gap, row in zip(gaps, rows, strict=True)
    ]


def _inserting(values: Mapping[str, object]) -> Callable[[re.Match[str]], str]:
    def text(match: re.Match[str]) -> str:
        opened, name, form, closed = match.groups()
        if opened and closed:
            return f"{{{name}{form or ''}}}"
        return f"{opened}{format(values[name], (form or ':')[1:])}{closed}"

    return text
