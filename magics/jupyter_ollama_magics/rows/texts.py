"""The texts of rows: a column, or a template filled with the values of a row."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Container, Iterable, Mapping

import numpy as np
import pandas as pd

from ..embed import text_of
from ..failures import OllamaMagicsError

_FIELD = re.compile(r"(?<!\{)\{([^\W\d]\w*)\}(?!\})")


def column_texts(column: pd.Series, caller: str) -> list[str | None]:
    """Return the texts of a column. Raises OllamaMagicsError for values that are not text."""
    return [text_of(item, row, caller) for row, item in column.items()]


def fill_template(
    template: str, fields: Mapping[str, pd.Series], default: str | None
) -> list[str | None]:
    """Return ``template`` with the values of each row, None for rows where one is missing.

    A template without a field is followed by the ``default`` field. Raises OllamaMagicsError if
    there is no default, or a value does not support its format.
    """
    if not isinstance(template, str):
        raise OllamaMagicsError(f"prompt is a text, not {type(template).__name__}.")
    pattern = placeholders(fields)
    used = used_fields(template, fields)
    if not used:
        if default is None:
            known = ", ".join(f"{{{name}}}" for name in fields)
            raise OllamaMagicsError(f"The prompt names none of the columns: {known}.")
        template, used = f"{template}\n\n{{{default}}}", [default]
    warn_of_unknown_fields(template, fields)
    columns = {name: fields[name] for name in dict.fromkeys(used)}
    missing = np.logical_or.reduce([column.isna().to_numpy(bool) for column in columns.values()])
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    values = [dict(zip(columns, row, strict=True)) for row in rows]
    return [
        None if is_missing else pattern.sub(_replacement(row), template)
        for is_missing, row in zip(missing, values, strict=True)
    ]


def used_fields(template: str, names: Iterable[str]) -> list[str]:
    """Return which of the ``names`` stand in braces in a template, each time that they do."""
    found = placeholders(names).finditer(template)
    return [match[2] for match in found if not (match[1] and match[4])]


def placeholders(names: Iterable[str]) -> re.Pattern[str]:
    """Return the pattern of ``{name}`` and ``{name:format}``.

    Its groups are a second brace before, the name, the format with its colon, and a second brace
    after; a field between two pairs of braces is text.
    """
    some = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(rf"\{{(\{{?)({some})(:[^{{}}\n]*)?\}}(\}}?)")


def warn_of_unknown_fields(template: str, fields: Container[str]) -> None:
    """Warn of fields that no column has."""
    unknown = [f"{{{name}}}" for name in _FIELD.findall(template) if name not in fields]
    if unknown:
        names = ", ".join(dict.fromkeys(unknown))
        warnings.warn(f"No column has the name of {names}; sent as typed.", stacklevel=3)


def _replacement(values: Mapping[str, object]) -> Callable[[re.Match[str]], str]:
    def text(match: re.Match[str]) -> str:
        opened, name, form, closed = match.groups()
        if opened and closed:
            return f"{{{name}{form or ''}}}"
        try:
            return f"{opened}{format(values[name], (form or ':')[1:])}{closed}"
        except (TypeError, ValueError) as error:
            raise OllamaMagicsError(f"{{{name}{form}}} in the prompt: {error}.") from None

    return text
