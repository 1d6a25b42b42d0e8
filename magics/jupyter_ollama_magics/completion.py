"""Tab completion of the magics: models (colons included), options, their values, subcommands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, context_matcher
from IPython.core.getipython import get_ipython
from jupyter_ollama_client.thinking import LEVELS

from .chat_options import OPTION_STRINGS
from .commands import SUBCOMMANDS
from .context import mentions
from .context.scope import user_names
from .formats import INSTRUCTIONS
from .rows import completion as row_completion
from .subcommand import MODELS, Subcommand

_VALUE = r"(?:\"[^\"]*\"|'[^']*'|[^-\s]\S*)"
_CHAT = rf"%%chat(?:\s+(?:{_VALUE}|-\S+))*"


def _command_words(command: Subcommand) -> Iterator[tuple[re.Pattern[str], Sequence[str]]]:
    """Yield the place of each word of a subcommand that is completed, and its words or MODELS."""
    for position, completes in enumerate(command.completes):
        if completes:
            before = r"\s+\S+" * position
            yield re.compile(rf"%{{0,2}}ollama\s+{command.name}{before}\s+(\S*)$"), completes


_COMMAND_WORDS = [word for command in SUBCOMMANDS.values() for word in _command_words(command)]
_PLACES = (
    # The first word of %%chat that is neither an option nor the value of one.
    re.compile(
        r"%%chat(?:\s+(?:--new|--raw|--show-context|--fix|--no-think|--think(?:\s+(?:low|medium|high))?"
        rf"|--?[a-z][\w-]*(?:=\S+|\s+{_VALUE})))*\s+([^-\s]\S*)?$"
    ),
    *(place for place, completes in _COMMAND_WORDS if completes == MODELS),
    re.compile(r"(?:^|=)\s*%?embed\s.*--model(?:\s+|=)(\S*)$"),
)
_MODELFILE = re.compile(r"%%ollama\s+create\s+\S+")
_BASE = re.compile(r"(?:FROM|DRAFT)\s+(\S*)$", re.IGNORECASE)
_WORDS: tuple[tuple[re.Pattern[str], str, Iterable[str]], ...] = (
    (re.compile(rf"{_CHAT}\s+(?:--format|-f)(?:\s+|=)(\w*)$"), "format", tuple(INSTRUCTIONS)),
    (re.compile(rf"{_CHAT}\s+--think(?:\s+|=)(\w+|(?<==))$"), "level", LEVELS),
    (re.compile(rf"{_CHAT}\s+(-[\w-]*)$"), "option", OPTION_STRINGS),
    (re.compile(r"%{0,2}ollama\s+(\w*)$"), "command", tuple(SUBCOMMANDS)),
    *((place, "command", words) for place, words in _COMMAND_WORDS if words != MODELS),
)
_FUNCTION = re.compile(rf"{_CHAT}\s+--tools(?:\s+|=)(?:\w+,)*(\w*)$")
_VARIABLE = re.compile(rf"{_CHAT}\s+--(?:schema|image|audio|sources)(?:\s+|=)(\w*)$")


def fragment(line: str) -> str | None:
    """Return the beginning of a model name at the end of ``line``, None at other places."""
    for place in _PLACES:
        if match := place.search(line.lstrip()):
            return match[1] or ""
    return None


def base(cell: str, line: str) -> str | None:
    """Return the beginning of the model in a FROM or DRAFT line of a Modelfile, None elsewhere."""
    match = _BASE.match(line) if _MODELFILE.match(cell.lstrip()) else None
    return match[1] if match else None


def offers(line: str, variables: Callable[[], dict[str, Any]]) -> tuple[str, str, Iterable[str]]:
    """Return (beginning, kind, words) of the other completions of ``line``; no words for none."""
    line = line.lstrip()
    for place, kind, words in _WORDS:
        if match := place.match(line):
            return match[1], kind, words
    for place, called in ((_FUNCTION, True), (_VARIABLE, False)):
        if match := place.match(line):
            return match[1], "name", _names(variables(), called)
    return "", "", ()


def _names(variables: dict[str, Any], called: bool) -> list[str]:
    return [
        name
        for name, value in variables.items()
        if not name.startswith("_") and (not called or hasattr(value, "__code__"))
    ]


def chat_matcher(
    models: Callable[[], list[str]], variables: Callable[[], dict[str, Any]]
) -> Callable[[CompletionContext], Any]:
    """Return a matcher for ``IPCompleter.custom_matchers``: the magics and ``.ollama``."""

    @context_matcher()
    def ollama_matcher(context: CompletionContext) -> Any:
        line = context.text_until_cursor
        mention = mentions.typed(_before(context))
        if mention is not None:
            return _mentions(mention, variables)
        built_on = base(context.full_text, line)
        typed, kind, words = offers(line, variables)
        in_a_call = None if words else row_completion.offers(_before(context), variables, models)
        if in_a_call:
            typed, kind, words = in_a_call
        elif not words:
            model = fragment(line) if built_on is None else built_on
            if model is None:
                return {"completions": []}
            typed, kind, words = model, "model", models()
        found = [SimpleCompletion(word, type=kind) for word in words if word.startswith(typed)]
        return {
            "completions": found,
            # Without this the colon of a tag would begin a new word.
            "matched_fragment": typed,
            # A Modelfile may name a file in place of a model.
            "suppress": bool(found) or (built_on is None and not in_a_call),
            "ordered": True,
        }

    matcher: Callable[[CompletionContext], Any] = ollama_matcher
    return matcher


def _mentions(begin: str, variables: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the completions of an ``@`` word in the text of ``%%chat``."""
    shell: Any = get_ipython()
    offered = mentions.offers(begin, lambda: user_names(variables(), shell.user_ns_hidden), shell)
    return {
        "completions": [SimpleCompletion(word, type=kind) for word, kind in offered],
        # Without this a colon or a slash would begin a new word.
        "matched_fragment": begin,
        "suppress": bool(offered),
        "ordered": True,
    }


def _before(context: CompletionContext) -> str:
    """Return the cell up to the cursor."""
    lines = context.full_text.split("\n")[: context.cursor_line]
    return "\n".join([*lines, context.text_until_cursor])
