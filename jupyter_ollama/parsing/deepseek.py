"""The formats of DeepSeek 3 and of Cogito, which may also invent results of tools."""

# ruff: noqa: RUF001 (DeepSeek's marks contain full-width bars)

from __future__ import annotations

from .answer import Answer
from .format import Format
from .reader import Steps, marks
from .styles import DEEPSEEK
from .tagged import THINK

OUTPUTS, END_OF_OUTPUTS = "<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>"
OUTPUT, END_OF_OUTPUT = "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>"

_CALLS = {mark: block for mark, block in DEEPSEEK.blocks.items() if "DSML" not in mark}
_LATER = {mark: block for mark, block in DEEPSEEK.blocks.items() if "DSML" in mark}
_BEHIND_BLANKS = {"\n\n" + mark: block for mark, block in _LATER.items()}
"""Later versions write an empty line before calls."""


def _outputs(answer: Answer, _opened: str) -> Steps[None]:
    """Drop results of tools that the model invented."""
    yield from answer.reader.body(marks(END_OF_OUTPUTS))
    answer.reader.forget()


FORMATS = {
    "deepseek3": Format(
        thinking=(THINK,),
        blocks={**_CALLS, **_LATER, **_BEHIND_BLANKS},
        dropped=(*DEEPSEEK.dropped, OUTPUT, END_OF_OUTPUT),
        thinks=True,
        drops_close=True,
    ),
    "cogito": Format(
        thinking=(THINK,),
        blocks={**_CALLS, OUTPUTS: _outputs},
        interrupts=(*_CALLS, OUTPUTS),
        dropped=DEEPSEEK.dropped,
        thinks=True,
    ),
}
