"""Blocks of tool calls in JSON and in Python."""

from __future__ import annotations

import re

from .answer import Answer, Block
from .python_program import calls_of_program
from .reader import JSON, PYTHON, InvalidCall, Steps, marks
from .tools import calls_in, decode

FENCES = ("```", "```json")


def section(close: str, inner: dict[str, Block]) -> Block:
    """Make a block of inner blocks, up to ``close``; text between them is dropped."""

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
    """Make a block of JSON: calls or a list of them, several only up to a ``close``.

    With ``header``, a regular expression, the JSON may be the arguments of the tool named by the
    text before it.
    """
    pattern = re.compile(header, re.DOTALL)
    stops = (close,) if close else ()

    def read(answer: Answer, _opened: str) -> Steps[None]:
        reader = answer.reader
        fenced = bool((yield from reader.skip(FENCES)))
        if (yield from reader.sees(("{", "["))):
            more = True
            while more:
                value = decode((yield from reader.balanced(JSON, stops)).strip())
                answer.calls(calls_in(value, answer.tools))
                more = bool(close) and (yield from reader.sees(("{",))) == "{"
        elif not header:
            raise InvalidCall
        else:
            head, mark = yield from reader.body(marks("{", *stops), keep=True)
            named = pattern.fullmatch(head)
            if mark != "{" or not named:
                raise InvalidCall
            arguments = decode((yield from reader.balanced(JSON, stops)).strip())
            answer.call(named["name"], arguments)
            fenced = FENCES[0] in head
        if fenced:
            yield from reader.skip(FENCES)
        if close:
            yield from reader.close((close,))

    return read


def json_calls(close: str) -> Block:
    """Make a block of a list in JSON whose calls are read one by one.

    An invalid call does not affect the others, and neither does the end of the answer.
    """

    def read(answer: Answer, _opened: str) -> Steps[None]:
        reader = answer.reader
        before, bad = answer.found, False
        while True:
            text, mark = yield from reader.body(marks("{", close), keep=True)
            bad = bad or bool(text.strip("[], \t\r\n"))
            if mark == close:
                reader.skip_mark(mark)
                break
            try:
                text = yield from reader.balanced(JSON, (close,))
            except InvalidCall:  # the answer ended within an object
                bad = True
                break
            try:
                answer.calls(calls_in(decode(text.strip()), answer.tools))
            except InvalidCall:
                bad = True
        if bad and answer.found == before:
            raise InvalidCall

    return read


def bare_json(answer: Answer, _opened: str) -> Steps[None]:
    """Read calls in JSON without a tag, of known tools only."""
    while (yield from answer.reader.sees(("{",))):
        value = decode((yield from answer.reader.balanced(JSON)).strip())
        calls = calls_in(value, answer.tools)
        inner = value.get("function", value)
        has_arguments = isinstance(inner, dict) and ("arguments" in inner or "parameters" in inner)
        if not has_arguments or any(name not in answer.tools.names for name, _ in calls):
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
            calls = calls_of_program(text.strip(), answer.tools)
        except InvalidCall:
            calls = []
        calls = calls or calls_in(decode(text.strip()), answer.tools)
        answer.calls(calls)
        if close:
            yield from reader.close((close,))

    return read
