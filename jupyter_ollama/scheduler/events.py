"""What happens on a server, told to those who keep count or a log of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

Listener = Callable[[str, dict[str, Any]], None]
"""Takes the kind of an event and what there is to say about it; never a text of a user's."""


class Events:
    """Passes events on to its ``listeners``."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []

    def tell(self, kind: str, **data: Any) -> None:
        """Tell all listeners. One that fails is no reason for a request to do so."""
        for listener in self.listeners:
            try:
                listener(kind, data)
            except Exception:
                log.exception("An event of the kind %s was not taken", kind)
