"""The format of Laguna: thinking may come anywhere, and calls in more than one form."""

from __future__ import annotations

from .answer import Answer
from .elements import OPEN, ElementCall
from .format import Format, FormatAnswer
from .reader import InvalidCall, Steps
from .tagged import THINK
from .tools import Tools

ALIASES = {
    "read_file": "read",
    "write_file": "write",
    "edit_file": "edit",
    "web_fetch": "webfetch",
}
"""Names of tools that the models use, and the names of the offered tools that they mean."""


def tool_name(name: str, tools: Tools) -> str:
    """Return the name of the offered tool for a name that the model uses."""
    alias = ALIASES.get(name, name)
    return alias if name not in tools.names and alias in tools.names else name


_CALL = ElementCall(name_of=tool_name, loose=True)
_IN_USER = ElementCall("</user>", name_of=tool_name, loose=True)


def user_call(answer: Answer, opened: str) -> Steps[None]:
    """Read a call of a known tool within the tags of a user's message."""
    names = answer.tools.names
    aliases = tuple(name for name, tool in ALIASES.items() if tool in names)
    if not (yield from answer.reader.sees((*names, *aliases))):
        raise InvalidCall
    yield from _IN_USER(answer, opened)


class LagunaAnswer(FormatAnswer):
    """Parses one answer. Blanks after a closing tag of thinking are dropped."""

    def __init__(self, style: Format, tools: Tools, prompt: str, *, think: bool) -> None:
        super().__init__(style, tools, prompt, think=think)
        if prompt.rstrip().endswith(THINK[1]):
            self.content.swallow()

    def _drop(self, _mark: str) -> None:
        self.content.swallow()


LAGUNA = Format(
    thinking=(THINK,),
    thinks=True,
    unwanted="dropped",
    reopens=True,
    anew=True,
    interrupts=(OPEN,),
    blocks={OPEN: _CALL, "<user>": user_call},
    dropped=(THINK[1],),
    trims=True,
    keeps_after=True,
    answer=LagunaAnswer,
)

FORMATS = {"laguna": LAGUNA, "poolside-v1": LAGUNA}
