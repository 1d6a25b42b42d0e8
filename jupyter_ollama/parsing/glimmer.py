"""The format of Glimmer: messages to the user, a tool or the model itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .answer import Answer
from .format import Format
from .reader import JSON, InvalidCall, Steps, Unfinished, marks
from .tools import Call, Tools, decode

START, MESSAGE = "<|start|>assistant", "<|message|>"
ENDS = ("<|eom|>", "<|eot|>")

CALLS, CALLS_END = "<atem:function_calls>", "</atem:function_calls>"
INVOKE, INVOKE_END = '<atem:invoke name="', "</atem:invoke>"
ARGUMENT, ARGUMENT_END = '<atem:parameter name="', "</atem:parameter>"
NAME_END = '">'


class GlimmerAnswer(Answer):
    """Parses one answer. The prompt ends with the beginning of a message's header.

    Without ``think``, messages of the model to itself are dropped.
    """

    def __init__(self, _style: Format, tools: Tools, _prompt: str, *, think: bool) -> None:
        self._thinking = True
        super().__init__(tools)
        if not think:
            self.thought.mute()

    @property
    def thinking(self) -> bool:
        """Whether no message with content or a call has begun yet."""
        return self._thinking

    def _run(self) -> Steps[None]:
        try:
            yield from self._message()
            while not (yield from self.reader.nothing_left()):
                yield from self._message()
        except Unfinished:
            return

    def _message(self) -> Steps[None]:
        recipient = yield from self._header()
        if recipient == "self":
            self.closing = f"{ENDS[0]}{START}{MESSAGE}"
            yield from self._body(self.thought.add)
            self.closing = ""
            self.thought.flush()
            return
        self._thinking = False
        tool = _tool(recipient, self.tools)
        bare = bool(tool) and bool((yield from self.reader.sees(("{",))))
        called = self.tools.names and (yield from self.reader.sees((CALLS,)))
        if bare:
            yield from self.attempt(lambda answer, _: _json(answer, tool), "")
        elif called:
            yield from self.attempt(_calls, "")
        yield from self._body(self.content.add)

    def _header(self) -> Steps[str]:
        """Read a header and return the recipient. Text without a header is for the user."""
        reader = self.reader
        yield from reader.skip((START,))
        if not (yield from reader.sees(("to=", MESSAGE))):
            return ""
        pieces: list[str] = []
        mark = yield from reader.until(marks(MESSAGE, *ENDS, START), pieces.append, keep=True)
        text = "".join(pieces)
        if mark != MESSAGE:
            self._thinking = False
            self.content.add(text)
            return ""
        reader.skip_mark(mark)
        return text.strip().removeprefix("to=").strip()

    def _body(self, out: Callable[[str], object]) -> Steps[None]:
        """Pass on a message up to its end, or to the header of the next."""
        while True:
            mark = yield from self.reader.until(marks(*ENDS, START), out, keep=True)
            headed = mark == START and (
                yield from self.reader.sees(("to=", MESSAGE), after=len(mark))
            )
            if headed:
                return
            self.reader.skip_mark(mark)
            if mark != START:
                return
            out(mark)


def _tool(name: str, tools: Tools) -> str:
    """Return the tool of a name, with or without its namespace, or ""."""
    if name in tools.names:
        return name
    space, _, rest = name.partition(".")
    return rest if rest in tools.names and space == rest.partition(".")[0] else ""


def _json(answer: Answer, tool: str) -> Steps[None]:
    """Read arguments in JSON in place of markup."""
    arguments = decode((yield from answer.reader.balanced(JSON, ENDS)).strip())
    answer.call(tool, arguments)


def _calls(answer: Answer, _opened: str) -> Steps[None]:
    """Read a message that consists of calls in markup, of known tools only."""
    reader = answer.reader
    yield from reader.skip((CALLS,))
    calls: list[Call] = []
    while (yield from reader.skip((INVOKE,))):
        calls.append((yield from _call(answer)))
    yield from reader.close((CALLS_END,))
    closed = (yield from reader.sees((*ENDS, START))) or (yield from reader.nothing_left())
    if not calls or not closed:
        raise InvalidCall
    answer.calls(calls)


def _call(answer: Answer) -> Steps[Call]:
    reader = answer.reader
    head, mark = yield from reader.body(marks(NAME_END, ARGUMENT))
    name = _tool(head.replace(MESSAGE, "").strip(), answer.tools)  # models mix up the tags
    if not name:
        raise InvalidCall
    arguments: dict[str, Any] = {}
    while mark == ARGUMENT or (yield from reader.skip((ARGUMENT,))):
        key, mark = yield from reader.body(marks(NAME_END))
        text = yield from _value(answer)
        arguments[key] = answer.tools.declared(name, key, text)
    if not (yield from reader.skip((INVOKE_END,))):
        raise InvalidCall
    return name, arguments


def _value(answer: Answer) -> Steps[str]:
    """Read a value up to its end tag; an end tag without markup after it is part of the value."""
    pieces: list[str] = []
    while True:
        text, mark = yield from answer.reader.body(marks(ARGUMENT_END))
        pieces.append(text)
        if (yield from answer.reader.sees((ARGUMENT, INVOKE_END))):
            return "".join(pieces)
        pieces.append(mark)


FORMATS = {
    "glimmer": Format(
        thinking=(), thinks=True, unwanted="dropped", headed=True, answer=GlimmerAnswer
    )
}
