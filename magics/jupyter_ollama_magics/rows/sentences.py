"""Sentences about rows, such as "{review} is a complaint": they name columns.

The values of a row are sent apart from the sentence. So the sentence is equal for all rows, a
server reads it once, and a long text does not stand in the middle of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import pandas as pd

from ..failures import OllamaMagicsError
from .texts import placeholders, warn_of_unknown_fields

_ARTICLE = re.compile(r"\bthe\s+$", re.IGNORECASE)


def fields_of(data: pd.Series | pd.DataFrame) -> dict[str, pd.Series]:
    """Return the columns that prompts may name, by name."""
    if isinstance(data, pd.DataFrame):
        return {str(name): data.iloc[:, at] for at, name in enumerate(data)}
    named = {data.name: data} if isinstance(data.name, str) else {}
    return {"text": data, "": data} | named


def sentence_and_template(
    sentence: str | None, data: pd.Series | pd.DataFrame, *, article: bool = True
) -> tuple[str, str]:
    """Return a sentence with the names of columns, and the template of the rows' values.

    "{review} is a complaint" becomes "the review is a complaint" with the template "{review}". Of
    several columns the template has a line each, with the name. A sentence about a Series may name
    none. Without ``article`` the name of a single column stays bare. Raises OllamaMagicsError.
    """
    if not isinstance(sentence, str) or not sentence.strip():
        raise OllamaMagicsError('Give a sentence, such as "{text} is a complaint".')
    fields = fields_of(data)
    pattern = placeholders(fields)
    used: dict[str, str] = {}
    for match in pattern.finditer(sentence):
        if not (match[1] and match[4]):
            used.setdefault(match[2], match[3] or "")
    if not used and isinstance(data, pd.DataFrame):
        known = ", ".join(f"{{{name}}}" for name in fields)
        raise OllamaMagicsError(f"The prompt names none of the columns: {known}.")
    warn_of_unknown_fields(sentence, fields)
    if len(used) <= 1:
        ((name, form),) = used.items() or [("text", "")]
        template = f"{{{name}{form}}}"
    else:
        template = "\n".join(f"{name}: {{{name}{form}}}" for name, form in used.items())
    words = _words(article and len(used) == 1)
    return pattern.sub(words, sentence).strip(), template


def _words(with_article: bool) -> Callable[[re.Match[str]], str]:
    """Return the words for a field: "the review", or the bare name."""

    def words(match: re.Match[str]) -> str:
        opened, name, form, closed = match.groups()
        if opened and closed:
            return f"{{{name}{form or ''}}}"
        before = match.string[: match.start()]
        article = "" if not with_article or _ARTICLE.search(before) else "the "
        if not before.strip():
            article = article.capitalize()
        return f"{opened}{article}{name or 'text'}{closed}"

    return words


def known_fields(template: str, fields: Iterable[str]) -> list[str]:
    """Return the names of the fields that a template uses, each once."""
    found = placeholders(fields).finditer(template)
    return list(dict.fromkeys(match[2] for match in found if not (match[1] and match[4])))
