"""Look into widgets and wait for them, in tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import ipywidgets as ipw


def until(holds: Callable[[], Any]) -> None:
    """Return when something holds."""
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, "this never came to hold"
        time.sleep(0.01)


def inside(widget: ipw.Widget) -> Iterator[ipw.Widget]:
    """Yield a widget and all in it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from inside(child)


def texts(widget: ipw.Widget) -> list[str]:
    """Return the texts of the labels in a widget."""
    return [one.value for one in inside(widget) if isinstance(one, ipw.Label)]


def press(widget: ipw.Widget, tooltip: str) -> None:
    """Press the button with a tooltip, as soon as it is there."""

    def button() -> ipw.Button | None:
        found = (one for one in inside(widget) if isinstance(one, ipw.Button))
        return next((one for one in found if one.tooltip == tooltip), None)

    until(button)
    button().click()
