"""The filters of the renderers' templates: values as Go prints them, and image markers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from ..json_values import check_finite, go_number

HTML_ESCAPES = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&"})
"""The characters that ``encoding/json`` escapes for safety in HTML unless disabled."""

LINE_ESCAPES = str.maketrans({c: f"\\u{ord(c):04x}" for c in "\u2028\u2029"})
"""The characters that it always escapes, because they end lines in JavaScript."""

WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""The characters of ``strings.TrimSpace``; ``str.strip`` also removes some control characters."""

_QUOTED = {"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t"} | {
    "\v": r"\v",
    "\\": r"\\",
    '"': r"\"",
}


def gojson(
    value: Any,
    spaced: bool = False,
    html: bool = True,
    quote: bool = False,
    indent: int | None = None,
) -> str:
    """Write a value as ``json.Marshal`` does, keys in the order they have.

    ``spaced`` puts a blank after commas and colons. ``html`` escapes ``<``, ``>`` and ``&``;
    ``quote`` writes texts as ``strconv.Quote`` does instead. ``indent`` is the number of blanks of
    each level of ``json.MarshalIndent``.
    """

    def written(value: Any, line: str) -> str:
        if isinstance(value, Mapping):
            pairs = [
                f"{scalar(key)}{colon}{written(item, line + step)}" for key, item in value.items()
            ]
            return enclosed("{", pairs, "}", line)
        if isinstance(value, list | tuple):
            return enclosed("[", [written(item, line + step) for item in value], "]", line)
        return scalar(value)

    def enclosed(opening: str, items: list[str], closing: str, line: str) -> str:
        if indent is None or not items:
            return opening + comma.join(items) + closing
        return opening + line + step + f",{line}{step}".join(items) + line + closing

    def scalar(value: Any) -> str:
        if isinstance(value, str):
            return goquote(value) if quote else _json_text(value, html)
        if isinstance(value, bool) or value is None:
            return json.dumps(value)
        return go_number(float(value))

    comma, colon = (", ", ": ") if spaced else (",", ":" if indent is None else ": ")
    step = " " * (indent or 0)
    return written(value, "\n")


def _json_text(text: str, html: bool) -> str:
    written = json.dumps(text, ensure_ascii=False).translate(LINE_ESCAPES)
    return written.translate(HTML_ESCAPES) if html else written


def gofmt(value: Any) -> str:
    """Print a value as ``fmt.Sprint`` does: ``1e+06``, ``<nil>``, ``[a b]``, ``map[a:1]``."""
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        pairs = (f"{key}:{gofmt(value[key])}" for key in sorted(value))
        return f"map[{' '.join(pairs)}]"
    if isinstance(value, list | tuple):
        return f"[{' '.join(map(gofmt, value))}]"
    return _short_number(float(value))


def goint(value: Any) -> str:
    """Print a number without a fraction as an int64, any other value as ``gofmt`` does."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
        if number.is_integer() and -(2.0**63) <= number < 2.0**63:
            return str(int(number))
    return gofmt(value)


def _short_number(value: float) -> str:
    """Print a number as Go's ``%v`` does: the fewest digits, an exponent from 1e+06 or 1e-05 on."""
    check_finite(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    power = len(digits) - 1 + exponent if value else 0
    if -4 <= power < 6:
        return format(Decimal(repr(value)), "f").removesuffix(".0")
    mantissa = str(digits[0]) + ("." + "".join(map(str, digits[1:])) if len(digits) > 1 else "")
    return f"{'-' * sign}{mantissa}e{power:+03d}"


def sorted_maps(value: Any) -> Any:
    """Sort the keys of all objects in a value, as Go sorts those of its maps."""
    if isinstance(value, Mapping):
        return {key: sorted_maps(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [sorted_maps(item) for item in value]
    return value


def goquote(text: str) -> str:
    """Quote a text as ``strconv.Quote`` does."""
    return '"' + "".join(_quoted(character) for character in text) + '"'


def _quoted(character: str) -> str:
    if character in _QUOTED:
        return _QUOTED[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def image_tags(content: str, images: Sequence[int]) -> str:
    """Insert a marker for each image: in place of ``[img]``, else before the content.

    A content that already has markers is unchanged.
    """
    if "[img-" in content:
        return content
    before = ""
    for number in images:
        if "[img]" in content:
            content = content.replace("[img]", f"[img-{number}]", 1)
        else:
            before += f"[img-{number}]"
    blank = " " if before and content and content[0] not in WHITE_SPACE else ""
    return before + blank + content


def trim(text: str, characters: str = WHITE_SPACE) -> str:
    """Remove characters from both ends, as ``strings.TrimSpace`` and ``strings.Trim`` do."""
    return text.strip(characters)


def trim_left(text: str, characters: str = WHITE_SPACE) -> str:
    """Remove characters from the beginning."""
    return text.lstrip(characters)


def trim_right(text: str, characters: str = WHITE_SPACE) -> str:
    """Remove characters from the end."""
    return text.rstrip(characters)


FILTERS = {
    "gojson": gojson,
    "gofmt": gofmt,
    "goint": goint,
    "goquote": goquote,
    "sorted_maps": sorted_maps,
    "image_tags": image_tags,
    "trim": trim,
    "trim_left": trim_left,
    "trim_right": trim_right,
}
