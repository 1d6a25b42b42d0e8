"""Leave out the oldest messages of a conversation until its prompt fits the context."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .errors import TemplateError
from .messages import Message


def fit_messages(
    messages: Sequence[Message],
    render: Callable[[Sequence[Message]], str],
    count_tokens: Callable[[str], int],
    num_ctx: int,
) -> tuple[str, int]:
    """Render the longest recent part of a conversation that fits ``num_ctx`` tokens.

    Returns the text and how many tokens were left out with the messages that had to go: the oldest
    first, never a system message, never the last one. If even the shortest part does not fit, it
    is returned all the same. A part that the template refuses is passed over; the whole
    conversation raises its TemplateError.
    """
    droppable = [i for i, message in enumerate(messages[:-1]) if message.role != "system"]

    def attempt(dropped: int) -> tuple[str, int]:
        gone = set(droppable[:dropped])
        kept = [message for i, message in enumerate(messages) if i not in gone]
        text = render(kept)
        return text, count_tokens(text)

    text, whole = attempt(0)
    best, most, left = text, 0, whole
    low, high = 1, 0 if whole <= num_ctx else len(droppable)
    # Tokens fall as messages go, so bisecting finds what dropping one by one would find.
    while low <= high:
        dropped = middle = (low + high) // 2
        while dropped <= high:
            try:
                text, tokens = attempt(dropped)
                break
            except TemplateError:
                dropped += 1
        else:
            high = middle - 1
            continue
        if tokens <= num_ctx:
            best, most, left = text, dropped, tokens
            high = middle - 1
        else:
            low = dropped + 1
            if dropped > most:
                best, most, left = text, dropped, tokens
    return best, max(0, whole - left)
