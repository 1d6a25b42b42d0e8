"""Answers whose parts are marked by tags, thinking first, then content with calls, and styles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from .answer import Answer, Block
from .parsed import Parser
from .reader import Steps, Unfinished, marks
from .tools import Tools

THINK = ("<think>", "</think>")


def closing_text(tag: str) -> str:
    """Return a closing tag as models write it: on a line of its own if it looks like XML."""
    return f"\n{tag}\n\n" if tag.startswith("</") else tag


class TaggedAnswer(Answer):
    """Parses one answer in a style. Calls are parsed if there are tools, or ``style.always``.

    ``think`` is False if the request disables thinking. An answer whose ``prompt`` ends with an
    open tag begins within thinking.
    """

    def __init__(self, style: Style, tools: Tools, prompt: str, *, think: bool) -> None:
        self._style = style
        self._pairs = style.thinking if think or style.unwanted != "content" else ()
        end = prompt.rstrip()
        self._open = next((close for begin, close in self._pairs if end.endswith(begin)), "")
        self._may_think = bool(self._pairs)
        self._calls_wanted = style.always or bool(tools.names)
        super().__init__(tools, trims=style.trims and self._calls_wanted)
        if not think and style.unwanted == "dropped":
            self.thought.mute()

    @property
    def thinking(self) -> bool:
        """Whether content has not begun: the model is thinking or may begin to."""
        return self._may_think

    def _run(self) -> Steps[None]:
        yield from self._think()
        self._may_think = False
        try:
            yield from self._talk()
        except Unfinished:
            return

    def _think(self) -> Steps[None]:
        close = self._open
        if not close and self._pairs:
            seen = yield from self.reader.skip(tuple(begin for begin, _ in self._pairs))
            close = dict(self._pairs).get(seen, "")
        if not close:
            return
        self.thought.cut()
        breaks = self._style.breaks
        self.closing = closing_text(close)
        mark = yield from self.reader.until(marks(close, *breaks), self.thought.add, keep=True)
        self.closing = ""
        if mark:
            self.thought.cut()
            self.content.cut()
        if mark == close:
            self.reader.skip_mark(mark)

    def _talk(self) -> Steps[None]:
        blocks = self._style.blocks if self._calls_wanted else {}
        wanted = (*blocks, *self._style.dropped)
        if self._calls_wanted and self._style.bare:
            yield from self._bare(*self._style.bare)
        while wanted:
            mark = yield from self.reader.until(marks(*wanted), self.content.add)
            if not mark:
                return
            if mark in blocks:
                yield from self.attempt(blocks[mark], mark)
        yield from self.reader.rest(self.content.add)

    def _bare(self, begin: str, block: Block) -> Steps[None]:
        if (yield from self.reader.sees((begin,))):
            yield from self.attempt(block, "")


@dataclass(frozen=True)
class Style:
    """A format. Without ``trims``, blanks around calls are content.

    ``thinking`` are pairs of tags, any of which may open; ``breaks`` end thinking like its closing
    tag, and are not part of it. ``blocks`` maps opening marks to readers of calls. ``bare`` is the
    opening of a call without tags at the beginning of the answer, with its reader. ``dropped`` are
    marks that are not content. ``signs`` identify the style in a chat template; ``parsers`` and
    ``architectures`` are prefixes of names that do.

    ``unwanted`` decides about thinking if the request disables it: it is kept as content, reported
    as thinking, or dropped. With ``always``, calls are parsed even if no tools were offered.
    ``headed``: headers, rather than tags, separate thinking and content. ``answer`` makes the
    parser of one answer.
    """

    parsers: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()
    thinking: tuple[tuple[str, str], ...] = (THINK,)
    breaks: tuple[str, ...] = ()
    blocks: dict[str, Block] = field(default_factory=dict)
    bare: tuple[str, Block] | None = None
    dropped: tuple[str, ...] = ()
    trims: bool = False
    harmony: bool = False
    unwanted: Literal["content", "thinking", "dropped"] = "content"
    always: bool = False
    headed: bool = False
    answer: Callable[..., Parser] = TaggedAnswer
