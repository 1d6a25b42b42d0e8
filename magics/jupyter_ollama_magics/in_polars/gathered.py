"""Join the parts of a column that several threads bring at about the same time into one call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

Data = pd.Series | pd.DataFrame

WINDOW = 0.02
"""Seconds for which a call waits for the parts of other threads."""


@dataclass
class _Part:
    data: Data
    made: Data | None = None
    error: Exception | None = None


class Gathered:
    """A function of a column or frame, by row, that is called once for all parts that wait.

    Query engines cut a column into parts, one for each thread. Joined, equal rows are sent once and
    as many requests run at a time as of one call.
    """

    def __init__(self, run: Callable[[Any], Data]) -> None:
        self._run = run
        self._waiting: list[_Part] = []
        self._arrival = threading.Lock()
        self._turn = threading.Lock()

    def __call__(self, data: Data) -> Data:
        """Return the result for a part. Raises the error of the joined call."""
        part = _Part(data)
        with self._arrival:
            self._waiting.append(part)
        time.sleep(WINDOW)
        # The turn belongs to a thread of the query engine, which must not wait for others of them:
        # the function uses none of its parallel operations.
        with self._turn:
            if part.made is None and part.error is None:
                with self._arrival:
                    parts, self._waiting = self._waiting, []
                self._run_all(parts)
        if part.error is not None:
            raise part.error
        assert part.made is not None
        return part.made

    def _run_all(self, parts: list[_Part]) -> None:
        try:
            whole: list[Any] = [part.data for part in parts]
            made = self._run(pd.concat(whole, ignore_index=True))
        except Exception as error:
            for part in parts:
                part.error = error
            return
        start = 0
        for part in parts:
            part.made = made.iloc[start : start + len(part.data)]
            start += len(part.data)
