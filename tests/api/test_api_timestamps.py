from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from jupyter_ollama.api.timestamps import now_utc


def test_now_is_utc_without_trailing_zeros() -> None:
    for _ in range(50):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z", now_utc())
    assert abs(datetime.fromisoformat(now_utc()) - datetime.now(UTC)) < timedelta(minutes=1)
