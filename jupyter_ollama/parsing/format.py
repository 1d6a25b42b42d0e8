"""Answers in the format of a named parser, with the results of Ollama's parser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .parsed import Parsed, Parser
from .reader import Steps, Unfinished, marks
from .tagged import Style, TaggedAnswer, closing_text
from .tools import Tools


class FormatAnswer(TaggedAnswer):
    """Parses one answer in a format. Calls are parsed unless there are no tools and no prompt.

    Without tools in the request, earlier turns of the prompt may contain some.
    """

    def __init__(self, style: Format, tools: Tools, prompt: str, *, think: bool) -> None:
        super().__init__(style, tools, prompt, think=think)
        self._format = style
        self._calls_wanted = bool(tools.names) or bool(prompt)
        self._trims = style.trims and self._calls_wanted
        self.content.holds_blanks = self._trims
        self.thought.holds_blanks = style.trims_thoughts
        self._goes_on = False
        if not self._open:
            self._open = self._begun(prompt)
            self._goes_on = bool(self._open)

    def _begun(self, prompt: str) -> str:
        """Return the closing tag of the thinking that the last turn of a prompt has begun."""
        turn = self._format.turn
        for begin, close in self._pairs:
            _, opened, rest = prompt.rpartition(begin)
            if turn and opened and close not in rest and turn not in rest:
                return close
        return ""

    def finish(self) -> Parsed:
        """End the answer; trailing blanks are dropped."""
        self.reader.end()
        self._advance(into := Parsed())
        if not self._format.thinks:
            self.thought.flush()
        return self._add_ready(into)

    def call(self, name: str, arguments: dict[str, Any]) -> None:
        """Add a call."""
        super().call(name, arguments)
        if self._format.keeps_after:
            self.content.keep()

    def _think(self) -> Steps[None]:
        form = self._format
        close = self._open
        if not close or form.reopens:
            seen = yield from self.reader.skip(tuple(begin for begin, _ in self._pairs))
            close = dict(self._pairs).get(seen, close)
        if not close:
            return
        if form.trims_thoughts and not self._goes_on:
            self.thought.swallow()
        yield from self._thought(close)

    def _thought(self, close: str) -> Steps[None]:
        """Read a thought to its end, which may also be a call."""
        form = self._format
        wanted = marks(close, *(form.interrupts if self._calls_wanted else ()))
        drops = (form.drops_begun or form.drops_close) and self._calls_wanted
        self.closing = closing_text(close)
        while mark := (yield from self.reader.until(wanted, self.thought.add, drops=drops)):
            if mark == close:
                break
            found = self.found
            try:
                yield from self.attempt(form.blocks[mark], mark, self.thought.add)
            except Unfinished:
                return
            if self.found > found:
                break
        self.closing = ""
        if mark and form.trims_thoughts:
            self.thought.cut()
            self.content.swallow()

    def _talk(self) -> Steps[None]:
        blocks = self._style.blocks if self._calls_wanted else {}
        thoughts = dict(self._pairs) if self._format.anew else {}
        wanted = (*blocks, *thoughts, *self._style.dropped)
        drops = self._format.drops_begun and bool(blocks)
        while wanted:
            mark = yield from self.reader.until(marks(*wanted), self.content.add, drops=drops)
            if not mark:
                return
            if mark in blocks:
                yield from self.attempt(blocks[mark], mark)
            elif mark in thoughts:
                yield from self._thought(thoughts[mark])
            else:
                self._drop(mark)
        yield from self.reader.rest(self.content.add)

    def _drop(self, mark: str) -> None:
        """Handle a mark that is not content."""


@dataclass(frozen=True)
class Format(Style):
    """The format of one parser.

    ``thinks`` and ``has_tools`` are the capabilities that the parser gives to a model. With
    ``reopens``, models repeat the tag that the prompt has opened. ``turn`` is the mark between
    turns of prompts whose last turn may have begun to think. ``interrupts`` are marks of calls that
    end thinking. With ``drops_begun``, a partial mark at the end of an answer is not content, and
    with ``drops_close``, a partial closing tag is not thinking. ``anew``: thinking may also begin
    within content. With ``keeps_after``, blanks after a call are content. With ``trims_thoughts``,
    blanks around a thought are neither thinking nor content.
    """

    always: bool = True
    answer: Callable[..., Parser] = FormatAnswer
    thinks: bool = False
    has_tools: bool = True
    reopens: bool = False
    turn: str = ""
    interrupts: tuple[str, ...] = ()
    drops_begun: bool = False
    drops_close: bool = False
    anew: bool = False
    keeps_after: bool = False
    trims_thoughts: bool = True
