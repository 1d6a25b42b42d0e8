"""A store of small models for the tests of %%chat, and their answers."""

from __future__ import annotations

from pathlib import Path

from scripted_model import MESSAGES, write_scripts
from store_models import add_hearing_model, add_model, add_seeing_model

from jupyter_ollama.library.library import Library

THOUGHT = "I should ask for it."
CODE = "Here it is:\n\n```python\nanswer = 6 * 7\n```\n\nRun it."
BARE = "print(41+1)"
MATH = "e^{i\\pi} = -1"
PAGE = "```html\n<h1>Hi</h1><script>bad()</script>\n```"
CALL = (
    f"<think>\n{THOUGHT}\n</think>\n\nLet me see."
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome", "days": 2}}\n</tool_call>'
)
SUNNY = "It will be mild."

MARKS = ("<think>", "</think>", "<tool_call>", "</tool_call>")
SEES = "{# <tool_call> <think> </think> #}{% if tools %}[{{ tools | length }} tools]{% endif %}"


def fill(folder: Path, library: Library) -> None:
    """Add "coder" (answers by a keyword of the prompt) and models with tools, vision and audio."""
    coder = write_scripts(
        folder / "coder.gguf",
        {"CODE": CODE, "BARE": BARE, "MATH": MATH, "PAGE": PAGE},
    )
    add_model(library, "coder", coder)
    caller = write_scripts(
        folder / "caller.gguf",
        {"WEATHER": CALL, "DEGREES": SUNNY},
        special=MARKS,
        template=SEES + MESSAGES,
    )
    add_model(library, "caller", caller)
    add_seeing_model(library, "seeing", folder)
    add_hearing_model(library, "hearing", folder)
