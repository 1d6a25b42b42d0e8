"""Tool calls in markup: elements for the call and for each of its arguments."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape
from typing import Any

from .answer import Answer
from .blocks import json_call
from .reader import InvalidCall, Steps, marks
from .tools import decode

NAME = re.compile(r"[\w.:/-]+")
ATTRIBUTE = re.compile(r'([\w-]+)="(.*?)"', re.DOTALL)

END = ""
"""Represents the end of the answer among the marks that may follow a value."""


@dataclass(frozen=True)
class Markup:
    """The syntax of a call. Calling it reads one, after the opening mark.

    ``head`` are the marks that end the part with the tool's name (with ``keeps_head`` they begin
    the next part), ``argument`` opens an argument whose name lasts up to ``key_end``, and ``value``
    separates name and value, if set. ``value_ends`` maps each mark that may end a value to marks of
    which one must follow (none: any text), so that a value may contain text like markup.
    ``close`` ends the call, and includes the first of ``wraps`` that follows. With ``name``, the
    name of an attribute, names are in attributes, else they are bare.
    ``lines``: one line break on either side of a value is markup. ``exact``: names are unchanged,
    and values have the types that the schema declares, or else are strings.
    """

    head: tuple[str, ...]
    argument: str
    key_end: str
    value_ends: dict[str, tuple[str, ...]]
    close: tuple[str, ...]
    value: str = ""
    name: str = ""
    key: str = ""
    wraps: tuple[str, ...] = ()
    lines: bool = False
    keeps_head: bool = False
    exact: bool = False

    def __call__(self, answer: Answer, _opened: str) -> Steps[None]:
        """Read a call."""
        reader = answer.reader
        head, mark = yield from reader.body(marks(*self.head), keep=True)
        if not self.keeps_head:
            reader.skip_mark(mark)
        name = self._attributes(head).get(self.name, "") if self.name else self._bare(head)
        if not (name.strip() if self.exact else NAME.fullmatch(name)):
            raise InvalidCall
        arguments: dict[str, Any] = {}
        closed = bool(self.name) and head.rstrip().endswith("/")
        while not closed:
            _, mark = yield from reader.body(marks(self.argument, *self.close))
            closed = mark != self.argument
            if not closed:
                yield from self._argument(answer, name, arguments)
        answer.call(name, arguments)
        if self.wraps and mark not in self.wraps:
            yield from reader.close(self.wraps)

    def _argument(self, answer: Answer, tool: str, arguments: dict[str, Any]) -> Steps[None]:
        head, _ = yield from answer.reader.body(marks(self.key_end))
        if self.value:
            yield from answer.reader.body(marks(self.value))
        text = yield from self._value(answer)
        attributes = self._attributes(head) if self.key else {}
        key = attributes.get(self.key, "") if self.key else self._bare(head)
        kind = attributes.get("type", "string" if attributes.get("string") == "true" else "")
        if kind == "string":
            arguments[key] = text
        elif kind or attributes.get("string") == "false":
            arguments[key] = _json_or_text(text)
        elif self.exact:
            arguments[key] = answer.tools.declared(tool, key, text)
        else:
            arguments[key] = answer.tools.typed(tool, key, text)

    def _bare(self, head: str) -> str:
        return head if self.exact else head.strip()

    def _value(self, answer: Answer) -> Steps[str]:
        reader = answer.reader
        pieces: list[str] = []
        while True:
            text, mark = yield from reader.body(marks(*self.value_ends), keep=True)
            pieces.append(text)
            follows = self.value_ends[mark]
            if not follows or (yield from self._followed(answer, follows, len(mark))):
                break
            pieces.append(reader.skip_mark(mark))
        if mark == next(iter(self.value_ends)):
            reader.skip_mark(mark)
        value = "".join(pieces)
        if self.lines:
            value = value.removeprefix("\n")
            value = value.removesuffix("\n") if mark[0] != "\n" else value
        return value

    @staticmethod
    def _followed(answer: Answer, follows: tuple[str, ...], length: int) -> Steps[bool]:
        texts = tuple(text for text in follows if text != END)
        if (yield from answer.reader.sees(texts, after=length)):
            return True
        return END in follows and (yield from answer.reader.nothing_left(after=length))

    @staticmethod
    def _attributes(head: str) -> dict[str, str]:
        return {name: unescape(value) for name, value in ATTRIBUTE.findall(head)}


def _json_or_text(text: str) -> Any:
    try:
        return decode(text)
    except InvalidCall:
        return text


def invoke(before: str, call: str = "invoke", argument: str = "parameter") -> Markup:
    """Return the markup with attributes that several families use, each with a prefix."""
    close = f"</{before}{call}>"
    return Markup(
        head=(">",),
        name="name",
        argument=f"<{before}{argument} ",
        key_end=">",
        key="name",
        value_ends={f"</{before}{argument}>": (f"<{before}{argument} ", close)},
        close=(close,),
    )


QWEN = Markup(
    head=(">",),
    argument="<parameter=",
    key_end=">",
    value_ends={
        "</parameter>": ("<parameter=", "</function>", "</tool_call>"),
        "\n<parameter=": (),
        "\n</function>": ("</tool_call>", "<tool_call>", END),
    },
    close=("</function>", "</tool_call>"),
    wraps=("</tool_call>",),
    lines=True,
)

GLM = Markup(
    head=("<arg_key>", "</tool_call>"),
    keeps_head=True,
    argument="<arg_key>",
    key_end="</arg_key>",
    value="<arg_value>",
    value_ends={
        "</arg_value>": ("<arg_key>", "</tool_call>"),
        "</tool_call>": ("<tool_call>", END),
    },
    close=("</tool_call>",),
)

KIMI = Markup(
    head=("<|sep|>",),
    name="tool",
    argument="<|open|>argument ",
    key_end="<|sep|>",
    key="key",
    value_ends={
        "<|close|>argument<|sep|>": ("<|open|>argument ", "<|close|>call<|sep|>"),
    },
    close=("<|close|>call<|sep|>",),
)

_HERMES = json_call("</tool_call>")


def tool_call(answer: Answer, opened: str) -> Steps[None]:
    """Read the content of ``<tool_call>``, for which families of models use three forms."""
    seen = yield from answer.reader.sees(("<function=", "{", "["))
    if seen == "<function=":
        yield from answer.reader.skip((seen,))
        yield from QWEN(answer, opened)
    elif seen:
        yield from _HERMES(answer, opened)
    else:
        yield from GLM(answer, opened)
