"""Events of the server, such as loads and refusals, for logs and metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

Listener = Callable[[str, dict[str, Any]], None]
"""Takes the kind of an event and its data, which never contain a text of a user."""


class Events:
    """Passes events on to its ``listeners``."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []

    def emit(self, kind: str, **data: Any) -> None:
        """Call all listeners. The failure of one is logged and does not fail the request."""
        for listener in self.listeners:
            try:
                listener(kind, data)
            except Exception:
                log.exception("A listener failed for an event of kind %s", kind)
