"""Parts of a column from several threads become one call."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
from crowd import wait_until
from jupyter_ollama_magics.in_polars.gathered import Gathered


def test_parts_that_wait_are_joined() -> None:
    begun, go_on = threading.Event(), threading.Event()
    calls: list[int] = []

    def run(data: pd.Series) -> pd.Series:
        calls.append(len(data))
        begun.set()
        go_on.wait(10)
        if "bad" in data.to_numpy():
            raise ValueError("bad part")
        return data.str.upper()

    gathered = Gathered(run)
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(gathered, pd.Series(["a", "b"]))
        begun.wait(10)
        others = [pool.submit(gathered, pd.Series([name] * 2)) for name in "cde"]
        wait_until(lambda: len(gathered._waiting) == 3)
        go_on.set()
        assert first.result(10).tolist() == ["A", "B"]
        assert [other.result(10).tolist() for other in others] == [["C"] * 2, ["D"] * 2, ["E"] * 2]
        assert calls == [2, 6]
        with pytest.raises(ValueError, match="bad part"):
            gathered(pd.Series(["bad"]))
        assert gathered(pd.Series(["fine"])).tolist() == ["FINE"]
