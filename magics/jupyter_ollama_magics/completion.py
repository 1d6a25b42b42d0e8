"""Tab completion of model names, colons included."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, context_matcher

_PLACES = (
    # The first word of %%chat that is no option and no option's value.
    re.compile(
        r"%%chat(?:\s+(?:--new|--raw|--?[a-z][\w-]*(?:=\S+|\s+(?:\"[^\"]*\"|'[^']*'|[^-\s]\S*))))*"
        r"\s+([^-\s]\S*)?$"
    ),
    re.compile(r"%?ollama\s+(?:show|use)\s+(\S*)$"),
    re.compile(r"(?:^|=)\s*%?embed\s.*--model(?:\s+|=)(\S*)$"),
)


def fragment(line: str) -> str | None:
    """Return the beginning of a model name that ``line`` ends with, None if none belongs there."""
    for place in _PLACES:
        if match := place.search(line.lstrip()):
            return match[1] or ""
    return None


def model_matcher(names: Callable[[], list[str]]) -> Callable[[CompletionContext], Any]:
    """Return a matcher for ``IPCompleter.custom_matchers`` that offers ``names()``."""

    @context_matcher()
    def ollama_model_matcher(context: CompletionContext) -> Any:
        typed = fragment(context.text_until_cursor)
        if typed is None:
            return {"completions": []}
        return {
            "completions": [
                SimpleCompletion(name, type="model") for name in names() if name.startswith(typed)
            ],
            # Without this the colon of a tag would begin a new word.
            "matched_fragment": typed,
            "suppress": True,
            "ordered": True,
        }

    return ollama_model_matcher
