"""canitoolcall's probe of /v1/chat/completions: calls of tools, whole and streamed."""

from __future__ import annotations

import pytest
from canitoolcall.probe import BUILTIN_SCENARIOS, Scenario, probe


@pytest.mark.parametrize("scenario", BUILTIN_SCENARIOS, ids=lambda one: one.id)
@pytest.mark.parametrize("model", ["caller", "thinker"])
def test_scenario(scenario: Scenario, model: str, host: str) -> None:
    report = probe(f"http://{host}/v1", model, scenarios=[scenario], concurrency=1)
    problems = [(one.check, one.detail) for one in report.outcomes if one.status != "pass"]
    assert not problems
