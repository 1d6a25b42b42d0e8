"""Ranges of the numbers in requests: clamped for options, refused for other fields.

A clamped value means the same at the bound and beyond it: a ``num_predict`` of 2**40 is "as long as
the context lasts", a ``temperature`` of 1e300 is "any token". Ollama passes such values on, and
llama.cpp's 32-bit arithmetic overflows, so that a sampler aborts the process. A value whose meaning
would change is refused.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from .errors import OllamaError

INT32 = 2**31 - 1
"""The largest whole number in llama.cpp's interfaces."""

MOST_SEQUENCES = 256
"""Sequences of one context: LLAMA_MAX_SEQ of llama.cpp."""

LONGEST_CONTEXT = 2**24
"""Tokens; four such contexts still have fewer cells than llama.cpp counts in 32 bits."""


class OptionRange(NamedTuple):
    """The range of a number; a value outside is clamped, or refused with ``refuses``."""

    least: float
    most: float
    refuses: bool = False

    def apply(self, name: str, value: float) -> float:
        """Return a value within the bounds. Raises OllamaError(400)."""
        if self.least <= value <= self.most:
            return value
        if self.refuses or math.isnan(value):
            raise OllamaError(400, f"{name} must be between {self.least:g} and {self.most:g}")
        return min(max(value, self.least), self.most)


FIELD_BOUNDS: dict[str, OptionRange] = {
    "top_logprobs": OptionRange(0, 20, refuses=True),
    "n": OptionRange(1, 128, refuses=True),
}
"""Ranges of the numeric fields outside ``options``, in all APIs."""


def check_field(name: str, value: float) -> None:
    """Raise OllamaError(400) unless the number of a field is within its bounds."""
    FIELD_BOUNDS[name].apply(name, value)
