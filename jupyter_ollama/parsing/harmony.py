"""Answers in OpenAI's harmony format: messages with a channel, and tools as recipients."""

from __future__ import annotations

import re

from ..prompt.harmony import harmony_names
from .answer import Answer
from .reader import JSON, InvalidCall, Steps, Unfinished, marks
from .tools import Tools, decode

START, MESSAGE = "<|start|>", "<|message|>"
ENDS = ("<|end|>", "<|call|>", "<|return|>")
HEADERS = (START, MESSAGE, "<|channel|>", "<|constrain|>", "assistant", "to=", *ENDS)

FINAL = f"<|end|>{START}assistant<|channel|>final{MESSAGE}"
"""The end of a thought, and the header of the answer."""

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
        self._original = {written: name for name, written in harmony_names(tools.names).items()}
        super().__init__(tools)

    @property
    def thinking(self) -> bool:
        """Whether no message with content or a call has begun yet."""
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
        """Read a header and its message; a header without a message is skipped."""
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
        if recipient not in ("", "assistant", "user", "all"):
            written = recipient.removeprefix("functions.")
            name = self._original.get(written, written)
            self._thinking = False
            offered = name in self.tools.names or written != recipient
            out = self.content.add if offered else _drop
            yield from self.attempt(lambda answer, _: self._arguments(name), "", out)
            yield from self._text(None)
        elif channel == "analysis":
            self.closing = FINAL
            yield from self._text("thought")
            self.closing = ""
            self.thought.cut()
        else:
            self._thinking = False
            yield from self._text("content")

    def _arguments(self, name: str) -> Steps[None]:
        """Read the arguments of a call; an empty text means no arguments."""
        if (yield from self.reader.sees(("{",))):
            arguments = decode((yield from self.reader.balanced(JSON)).strip())
            self.call(name, arguments)
            return
        text, _ = yield from self.reader.body(marks(START, *ENDS), keep=True)
        if text.strip():
            raise InvalidCall
        self.call(name, {})

    def _text(self, channel: str | None) -> Steps[None]:
        """Read a message to its end, after which only another message may follow."""
        out = getattr(self, channel).add if channel else _drop
        while mark := (yield from self.reader.until(marks(*ENDS), out)):
            if (yield from self.reader.nothing_left()):
                return
            if (yield from self.reader.sees((START, "<|channel|>", *ENDS))):
                return
            out(mark)


def _drop(_text: str) -> None:
    """Discard text, such as a message to a tool that was not offered."""
