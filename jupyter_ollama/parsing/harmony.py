"""Answers in OpenAI's harmony format: messages with a channel, and tools as recipients."""

from __future__ import annotations

import re

from .answer import Answer
from .reader import JSON, InvalidCall, Steps, Unfinished, marks
from .tools import Tools, decode

START, MESSAGE = "<|start|>", "<|message|>"
ENDS = ("<|end|>", "<|call|>", "<|return|>")
HEADERS = (START, MESSAGE, "<|channel|>", "<|constrain|>", "assistant", "to=", *ENDS)

CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
RECIPIENT = re.compile(r"\bto=([^\s<]+)")


class HarmonyAnswer(Answer):
    """Parses one answer. The prompt may end within a message, or within its header."""

    def __init__(self, tools: Tools, prompt: str) -> None:
        last = prompt.rfind(START)
        self._header, self._within, _ = (
            prompt[last + len(START) :] if last >= 0 else ""
        ).partition(MESSAGE)
        self._thinking = True
        super().__init__(tools)

    @property
    def thinking(self) -> bool:
        """Whether the message that is content, or a call, has not begun."""
        return self._thinking

    def _run(self) -> Steps[None]:
        known = self._within or "<|channel|>" in self._header
        if not known and not (yield from self.reader.sees(HEADERS)):
            self._header, self._within = "<|channel|>final", MESSAGE
        try:
            if self._within:
                yield from self._next()
            while not (yield from self.reader.nothing_left()):
                yield from self._next()
        except Unfinished:
            return

    def _next(self) -> Steps[None]:
        """Read a header and its message; a header without a message is passed over."""
        if not self._within:
            text, self._within = yield from self.reader.body(marks(MESSAGE, START, *ENDS))
            self._header += text
        header, within = self._header, self._within
        self._header = self._within = ""
        if within == MESSAGE:
            yield from self._message(header)

    def _message(self, header: str) -> Steps[None]:
        channel = (CHANNEL.findall(header) or ["final"])[-1]
        recipient = (RECIPIENT.findall(header) or [""])[-1]
        name = recipient.removeprefix("functions.")
        if name != recipient or name in self.tools.names:
            self._thinking = False
            yield from self.attempt(lambda answer, _: self._arguments(name), "")
            yield from self._text(None)
        elif recipient not in ("", "assistant", "user", "all"):
            yield from self._text(None)  # a built-in tool that nobody offered
        elif channel == "analysis":
            yield from self._text("thought")
            self.thought.cut()
        else:
            self._thinking = False
            yield from self._text("content")

    def _arguments(self, name: str) -> Steps[None]:
        """Read the arguments of a call; none at all are no arguments."""
        if (yield from self.reader.sees(("{",))):
            arguments = decode((yield from self.reader.balanced(JSON)).strip())
            self.call(name, arguments)
            return
        text, _ = yield from self.reader.body(marks(START, *ENDS), keep=True)
        if text.strip():
            raise InvalidCall
        self.call(name, {})

    def _text(self, channel: str | None) -> Steps[None]:
        """Read a message to its end, which only the next message follows, or nothing."""
        out = getattr(self, channel).add if channel else _drop
        while mark := (yield from self.reader.until(marks(*ENDS), out)):
            if (yield from self.reader.nothing_left()):
                return
            if (yield from self.reader.sees((START, "<|channel|>", *ENDS))):
                return
            out(mark)


def _drop(_text: str) -> None:
    """Take text that is shown nowhere."""
