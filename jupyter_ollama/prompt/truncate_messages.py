"""Dropping the oldest messages of a conversation until its prompt fits the context."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate

from .errors import TemplateError
from .messages import Message

_MOST_REFUSED = 512
"""Consecutive refused parts after which the search continues elsewhere, as in a run of tool calls,
with none of which a conversation may begin."""


def fit_messages(
    messages: Sequence[Message],
    render: Callable[[Sequence[Message]], str],
    count_tokens: Callable[[str], int],
    num_ctx: int,
) -> tuple[str, int]:
    """Render the longest recent part of a conversation that fits ``num_ctx`` tokens.

    Returns the text and the number of tokens of the dropped messages: the oldest first, never a
    system message, never the last one. If even the shortest part does not fit, it is returned
    anyway. Parts that the template refuses are skipped; the whole conversation raises its
    TemplateError.
    """
    droppable = [i for i, message in enumerate(messages[:-1]) if message.role != "system"]

    def attempt(dropped: int) -> tuple[str, int]:
        gone = set(droppable[:dropped])
        kept = [message for i, message in enumerate(messages) if i not in gone]
        text = render(kept)
        return text, count_tokens(text)

    text, whole = attempt(0)
    if whole <= num_ctx:
        return text, 0
    best, most, left = text, 0, whole
    low, high = 1, len(droppable)
    # Fewer messages have fewer tokens, so a search finds the result of dropping one by one. All but
    # the first renderings are about as long as the context, however long the conversation.
    guess, step = _guess([messages[i] for i in droppable], whole - num_ctx, whole), 1
    while low <= high:
        dropped = middle = min(max(guess, low), high)
        while dropped <= min(high, middle + _MOST_REFUSED):
            try:
                text, tokens = attempt(dropped)
                break
            except TemplateError:
                dropped += 1
        else:
            high, guess = middle - 1, low + (middle - low) // 2
            continue
        if tokens <= num_ctx:
            best, most, left = text, dropped, tokens
            high = middle - 1
            guess = max(middle - step, low + (high - low) // 2)
        else:
            low = dropped + 1
            if dropped > most:
                best, most, left = text, dropped, tokens
            guess = min(dropped + step, low + (high - low) // 2)
        step *= 2
    return best, max(0, whole - left)


def _guess(droppable: Sequence[Message], surplus: int, whole: int) -> int:
    """Estimate from lengths the number of messages with ``surplus`` of ``whole`` tokens."""
    # The markup around a message is some ten tokens.
    sizes = [40 + len(message.content) + len(message.thinking) for message in droppable]
    ends = list(accumulate(sizes))
    return bisect_left(ends, ends[-1] * surplus / whole) + 1 if ends else 0
