"""The formats of OLMo 3: calls in Python, and thinking that the prompt always opens."""

from __future__ import annotations

from .answer import Answer
from .format import Format
from .python_program import calls_of_program
from .reader import InvalidCall, Steps, Unfinished, marks
from .tagged import THINK
from .tools import calls_in, decode

OPEN, CLOSE = "<function_calls>", "</function_calls>"


def _calls(answer: Answer, _opened: str) -> Steps[None]:
    """Read a block of calls, one a line or in a list."""
    pieces: list[str] = []
    mark = yield from answer.reader.until(marks(CLOSE), pieces.append, drops=True)
    text = "".join(pieces).strip()
    unindented = "\n".join(map(str.strip, text.splitlines()))
    try:
        if text.startswith("{"):
            calls = calls_in(decode(text), answer.tools)
        else:
            calls = calls_of_program(text, answer.tools, lenient=True)
            calls = calls or calls_of_program(unindented, answer.tools, lenient=True)
    except InvalidCall:
        calls = []
    if not calls:
        raise InvalidCall if mark else Unfinished
    answer.calls(calls)


FORMATS = {
    "olmo3": Format(thinking=(THINK,), blocks={OPEN: _calls}),
    "olmo3-think": Format(
        thinking=(THINK,), unwanted="thinking", thinks=True, has_tools=False, drops_begun=True
    ),
}
