"""Answers of which tags mark the parts: thinking first, then content with calls in it."""

from __future__ import annotations

from .answer import Answer, Block
from .reader import Steps, Unfinished, marks
from .styles import Style
from .tools import Tools


class TaggedAnswer(Answer):
    """Parses one answer in a style. Calls are looked for only if there are tools.

    ``think`` is False where thinking is not to be told apart. An answer whose ``prompt`` ends with
    an open tag begins inside of thinking.
    """

    def __init__(self, style: Style, tools: Tools, prompt: str, *, think: bool) -> None:
        self._style = style
        self._pairs = style.thinking if think else ()
        end = prompt.rstrip()
        self._open = next((close for begin, close in self._pairs if end.endswith(begin)), "")
        self._may_think = bool(self._pairs)
        super().__init__(tools, trims=style.trims and bool(tools.names))

    @property
    def thinking(self) -> bool:
        """Whether content has not begun: the model thinks, or may yet begin to."""
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
        mark = yield from self.reader.until(marks(close, *breaks), self.thought.add, keep=True)
        if mark:
            self.thought.cut()
            self.content.cut()
        if mark == close:
            self.reader.skip_mark(mark)

    def _talk(self) -> Steps[None]:
        blocks = self._style.blocks if self.tools.names else {}
        wanted = (*blocks, *self._style.dropped)
        if self.tools.names and self._style.bare:
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
