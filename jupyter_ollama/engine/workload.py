"""The prompts of speed measurements, which have no common prefix."""

from __future__ import annotations

import random

WORDS = """
market river garden morning winter table music letter window doctor village summer engine forest
school captain bridge kitchen paper island teacher mountain picture station farmer evening street
horse water church friend basket silver harbor valley lantern
"""

PROMPT_WORDS = 8
"""Words of a prompt where the speed of generation is measured."""


def prompts(count: int, words: int, key: str = "") -> list[str]:
    """Return ``count`` texts of about ``words`` tokens, the same for the same ``key``.

    Each begins with words of its own, so that no prefix cache shortens its prefill, and ends with a
    phrase that a model continues at length.
    """
    words_known = WORDS.split()
    texts = []
    for number in range(count):
        chance = random.Random(f"{key}/{number}")
        chosen = " ".join(chance.choices(words_known, k=max(3, words - 5)))
        texts.append(f"{chosen}. Once upon a time")
    return texts
