"""What a measurement of speed asks of a model: prompts that have nothing in common."""

from __future__ import annotations

import random

WORDS = """
market river garden morning winter table music letter window doctor village summer engine forest
school captain bridge kitchen paper island teacher mountain picture station farmer evening street
horse water church friend basket silver harbor valley lantern
"""

PROMPT_WORDS = 8
"""How long a prompt is where generating is what counts."""


def prompts(count: int, words: int, key: str = "") -> list[str]:
    """Return ``count`` texts of about ``words`` tokens, the same for the same ``key``.

    Each begins with other words than the rest, so that no cache of prefixes can save the reading,
    and ends so that a model goes on for a while.
    """
    words_known = WORDS.split()
    texts = []
    for number in range(count):
        chance = random.Random(f"{key}/{number}")
        chosen = " ".join(chance.choices(words_known, k=max(3, words - 5)))
        texts.append(f"{chosen}. Once upon a time")
    return texts
