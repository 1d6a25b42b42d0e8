"""The forms in which models write tool calls: JSON, a mapping of Gemma's own, Python."""

from __future__ import annotations

import ast
import re
from typing import Any

from .answer import Answer, Block
from .reader import JSON, PYTHON, InvalidCall, Quotes, Steps, marks
from .tools import Call, Tools, calls_in, decode, plain

FENCES = ("```", "```json")


def section(close: str, inner: dict[str, Block]) -> Block:
    """Make a block of blocks, up to ``close``; text between them is no content."""

    def read(answer: Answer, _opened: str) -> Steps[None]:
        noise, blocks = "", 0
        while True:
            text, mark = yield from answer.reader.body(marks(*inner, close))
            noise += text
            if mark == close:
                break
            blocks += 1
            yield from answer.attempt(inner[mark], mark)
        if noise.strip() and not blocks:
            raise InvalidCall

    return read


def json_call(close: str = "", header: str = "") -> Block:
    """Make a block of JSON: one call or a list of them.

    With ``header``, a regular expression, the JSON may be the arguments of the tool that the text
    before it names.
    """
    pattern = re.compile(header, re.DOTALL)
    stops = (close,) if close else ()

    def read(answer: Answer, _opened: str) -> Steps[None]:
        reader = answer.reader
        yield from reader.skip(FENCES)
        if (yield from reader.sees(("{", "["))):
            value = decode((yield from reader.balanced(JSON, stops)).strip())
            answer.calls(calls_in(value, answer.tools))
        elif not header:
            raise InvalidCall
        else:
            head, mark = yield from reader.body(marks("{", *stops), keep=True)
            named = pattern.fullmatch(head)
            if mark != "{" or not named:
                raise InvalidCall
            arguments = decode((yield from reader.balanced(JSON, stops)).strip())
            answer.call(named["name"], arguments)
        yield from reader.skip(FENCES)
        if close:
            yield from reader.skip((close,))

    return read


def bare_json(answer: Answer, _opened: str) -> Steps[None]:
    """Read calls in JSON that stand without any tag, of known tools only."""
    while (yield from answer.reader.sees(("{",))):
        value = decode((yield from answer.reader.balanced(JSON)).strip())
        calls = calls_in(value, answer.tools)
        inner = value.get("function", value)
        told = isinstance(inner, dict) and ("arguments" in inner or "parameters" in inner)
        if not told or any(name not in answer.tools.names for name, _ in calls):
            raise InvalidCall
        answer.calls(calls)
        yield from answer.reader.skip((";", ","))


def python_calls(close: str = "") -> Block:
    """Make a block of Python: calls with keywords, in a list or one a line."""

    def read(answer: Answer, _opened: str) -> Steps[None]:
        reader = answer.reader
        if (yield from reader.sees(("[",))):
            text = yield from reader.balanced(PYTHON)
        elif not close:
            raise InvalidCall
        else:
            text, _ = yield from reader.body(marks(close), keep=True)
        try:
            calls = _python(text.strip(), answer.tools)
        except InvalidCall:
            calls = calls_in(decode(text.strip()), answer.tools)
        answer.calls(calls)
        if close:
            yield from reader.skip((close,))

    return read


def _python(text: str, tools: Tools) -> list[Call]:
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidCall from error
    found: list[Call] = []
    for statement in body:
        value = statement.value if isinstance(statement, ast.Expr) else None
        items = value.elts if isinstance(value, ast.List | ast.Tuple) else [value]
        found += [_python_call(item, tools) for item in items]
    if not found:
        raise InvalidCall
    return found


def _python_call(node: ast.expr | None, tools: Tools) -> Call:
    if not isinstance(node, ast.Call):
        raise InvalidCall
    name = ast.unparse(node.func)
    parameters = tools.parameters(name)
    if name not in tools.names or len(node.args) > len(parameters):
        raise InvalidCall
    arguments = dict(zip(parameters, map(plain, node.args), strict=False))
    for keyword in node.keywords:
        if keyword.arg is None:
            raise InvalidCall
        arguments[keyword.arg] = plain(keyword.value)
    return name, arguments


def gemma_call(close: str, quote: str) -> Block:
    """Make a block of ``call:name{key:value}``, its strings between ``quote``."""
    quotes = Quotes((quote,))

    def read(answer: Answer, _opened: str) -> Steps[None]:
        head, mark = yield from answer.reader.body(marks("{", close), keep=True)
        name = head.strip().removeprefix("call:").strip()
        if mark != "{" or not name:
            raise InvalidCall
        text = yield from answer.reader.balanced(quotes, (close,))
        answer.call(name, _GemmaValue(text, quote).mapping())
        yield from answer.reader.skip((close,))

    return read


class _GemmaValue:
    """A value of Gemma's: keys are bare, strings are quoted by a token and never escaped."""

    def __init__(self, text: str, quote: str) -> None:
        self._text = text
        self._at = 0
        self._quote = quote
        self._parts = re.compile("|".join(map(re.escape, (quote, *"{}[],:"))))

    def mapping(self) -> dict[str, Any]:
        """Read a mapping that begins here."""
        self._at += 1
        found: dict[str, Any] = {}
        while True:
            key, mark = self._until(":}")
            if mark == "}" and not key:
                return found
            if mark != ":" or not key:
                raise InvalidCall
            found[key], mark = self._value("}")
            if mark == "}":
                return found

    def _until(self, ends: str) -> tuple[str, str]:
        """Return the text up to one of ``ends``, without quotes around it, and the end."""
        start = self._at
        while match := self._parts.search(self._text, self._at):
            self._at = match.end()
            if match.group() in ends:
                text = self._text[start : match.start()].strip()
                return text.removeprefix(self._quote).removesuffix(self._quote), match.group()
        raise InvalidCall

    def _value(self, close: str) -> tuple[Any, str]:
        """Read a value and the comma or bracket after it."""
        rest = self._text[self._at : self._at + len(self._quote) + 32].lstrip()
        if rest.startswith(self._quote):
            start = self._text.index(self._quote, self._at) + len(self._quote)
            end = self._text.find(self._quote, start)
            if end < 0:
                raise InvalidCall
            self._at = end + len(self._quote)
            return self._text[start:end], self._until("," + close)[1]
        if rest.startswith(("{", "[")):
            self._at = self._text.index(rest[0], self._at)
            value: Any = self.mapping() if rest[0] == "{" else self._list()
            return value, self._until("," + close)[1]
        text, mark = self._until("," + close)
        try:
            return decode(text), mark
        except InvalidCall:
            return text, mark

    def _list(self) -> list[Any]:
        self._at += 1
        found: list[Any] = []
        while True:
            value, mark = self._value("]")
            if value != "" or mark == ",":
                found.append(value)
            if mark == "]":
                return found
