"""Leave out the oldest messages of a conversation until its prompt fits the context."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .errors import TemplateError
from .messages import Message

IMAGE_TOKENS = 768
"""What an image is taken to cost before the vision model has seen it."""


def fit_messages(
    messages: Sequence[Message],
    render: Callable[[Sequence[Message]], str],
    count_tokens: Callable[[str], int],
    num_ctx: int,
) -> tuple[str, int]:
    """Render the longest recent part of a conversation that fits ``num_ctx`` tokens.

    Returns the text and how many messages were dropped: the oldest first, never a system message,
    never the last one. If even the shortest part does not fit, it is returned all the same. A part
    that the template refuses is passed over; the whole conversation raises its TemplateError.
    """
    droppable = [i for i, message in enumerate(messages[:-1]) if message.role != "system"]

    def attempt(dropped: int) -> tuple[str, bool]:
        gone = set(droppable[:dropped])
        kept = [message for i, message in enumerate(messages) if i not in gone]
        text = render(kept)
        images = sum(len(message.images) for message in kept)
        return text, count_tokens(text) + IMAGE_TOKENS * images <= num_ctx

    text, fits = attempt(0)
    best = (text, 0)
    low, high = 1, 0 if fits else len(droppable)
    # Tokens fall as messages go, so bisecting finds what dropping one by one would find.
    while low <= high:
        dropped = middle = (low + high) // 2
        while dropped <= high:
            try:
                text, fits = attempt(dropped)
                break
            except TemplateError:
                dropped += 1
        else:
            high = middle - 1
            continue
        if fits:
            best, high = (text, dropped), middle - 1
        else:
            low = dropped + 1
            best = max(best, (text, dropped), key=lambda part: part[1])
    return best
