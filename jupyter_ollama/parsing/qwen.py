"""The formats of Qwen and of models that adopted them: JSON or markup in ``<tool_call>``."""

from __future__ import annotations

from dataclasses import replace

from .answer import Answer, Block
from .blocks import FENCES, json_call
from .format import Format
from .markup import QWEN
from .reader import InvalidCall, Steps, Unfinished, marks
from .tagged import THINK

OPEN, CLOSE = "<tool_call>", "</tool_call>"
FUNCTION = "<function="

_JSON = json_call(CLOSE)
_MARKUP = replace(QWEN, exact=True)
_NO_PROSE = marks(FUNCTION, OPEN, CLOSE, THINK[1])


def _tool_call(*, prose: bool) -> Block:
    """Make a block of a call in JSON or in markup; ``prose`` may precede markup."""

    def read(answer: Answer, opened: str) -> Steps[None]:
        reader = answer.reader
        if (yield from reader.nothing_left()):
            raise Unfinished
        if (yield from reader.sees((FUNCTION, "{", "[", *FENCES))) not in ("", FUNCTION):
            yield from _JSON(answer, opened)
            return
        if prose:
            _, mark = yield from reader.body(_NO_PROSE, keep=True)
        else:
            mark = yield from reader.sees((FUNCTION,))
        if mark != FUNCTION:
            raise InvalidCall
        yield from reader.skip((FUNCTION,))
        yield from _MARKUP(answer, opened)

    return read


JSON = Format(
    thinking=(THINK,),
    blocks={OPEN: _tool_call(prose=False), FUNCTION: _MARKUP},
    trims=True,
    turn="<|im_",
    interrupts=(OPEN,),
    drops_begun=True,
)

MARKUP = replace(JSON, blocks={OPEN: _tool_call(prose=True), FUNCTION: _MARKUP})

THINKING_MARKUP = replace(MARKUP, thinks=True, reopens=True)

FORMATS = {
    "qwen3": JSON,
    "qwen3-thinking": replace(JSON, thinks=True, reopens=True),
    "qwen3-vl-instruct": JSON,
    "qwen3-vl-thinking": replace(JSON, thinks=True, unwanted="thinking"),
    "qwen3-coder": MARKUP,
    "qwen3.5": THINKING_MARKUP,
    "ornith": THINKING_MARKUP,
    "nemotron-3-nano": THINKING_MARKUP,
    "nemotron-3.5-nano": THINKING_MARKUP,
}
