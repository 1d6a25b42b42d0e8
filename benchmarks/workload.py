"""What every contender is asked: distinct short prompts, a fixed number of tokens."""

from __future__ import annotations

PREDICT = 64
"""Tokens of every answer."""

SUBJECTS = (
    "a lighthouse",
    "a clockmaker",
    "the deep sea",
    "a lost letter",
    "an old bridge",
    "a winter market",
    "the last train",
    "a quiet village",
)


def prompts(count: int) -> list[str]:
    """Return ``count`` different prompts of some twenty tokens."""
    return [
        f"Write a long and detailed story, number {n}, about {SUBJECTS[n % len(SUBJECTS)]}. "
        "It begins like this: Once upon a time"
        for n in range(count)
    ]


LONG_PROMPT = "The quick brown fox jumps over the lazy dog. " * 200
"""About 2,000 tokens."""
