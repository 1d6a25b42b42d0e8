"""The last requests that were refused or failed, for administrators and for their senders."""

from __future__ import annotations

import time
from collections import deque
from itertools import count
from typing import Any

from ..scheduler.events import Events

KEPT = 200
"""Refusals and failures in memory, some 100 kB."""

LONGEST = 500
"""Characters of a reason."""

CLOSED = 499
"""The status of a request whose client ended it: no failure."""


class Problems:
    """Keeps the last refusals and failures. No text of a request is among them."""

    def __init__(self, events: Events) -> None:
        self._last: deque[tuple[str, dict[str, Any]]] = deque(maxlen=KEPT)
        self._numbers = count(1)
        events.listeners.append(self._on_event)

    def of(self, user: str | None) -> dict[str, dict[str, Any]]:
        """Return those of a user, None for all, by number."""
        return {number: one for number, one in self._last if user in (None, one["user"])}

    def _on_event(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "refuse":
            self._add(data["user"], "", data["status"], data["reason"])
        elif kind == "finish":
            request = data["request"]
            if request.status >= 400 and request.status not in (CLOSED, 429):
                self._add(request.user, request.model, request.status, f"{request.path} failed")

    def _add(self, user: str, model: str, status: int, reason: str) -> None:
        found = {
            "time": round(time.time(), 1),
            "user": user,
            "model": model,
            "status": status,
            "reason": reason[:LONGEST],
        }
        self._last.append((str(next(self._numbers)), found))
