"""llm-comply: requests and answers checked against the documents of three APIs."""

from __future__ import annotations

from pathlib import Path

import llm_comply
import pytest
from llm_comply import http, runner
from llm_comply.config import ComplianceConfig
from llm_comply.schema import SpecLoader
from llm_comply.tests import get_tests

SPECIFICATIONS = {
    "openai-chat": "openai_chat.json",
    "open-responses": "openresponses.json",
    "anthropic": "anthropic.json",
}
CASES = {f"{kind}/{case.id}": case for kind in SPECIFICATIONS for case in get_tests(kind)}
# llm-comply tries thoughts only with models of these names.
THINKERS = {
    "openai-chat/chat-reasoning-summary": "deepseek-r1:1.5b",
    "open-responses/reasoning-summary": "deepseek-r1:1.5b",
    "anthropic/anth-thinking-display": "claude-4",
}


@pytest.mark.parametrize("name", CASES)
def test_case(name: str, host: str) -> None:
    config = ComplianceConfig(
        base_url=f"http://{host}/v1",
        api_key="unused",
        model=THINKERS.get(name, "caller"),
        extra_headers={"anthropic-version": "2023-06-01"},
        verbose=True,
    )
    kind = name.partition("/")[0]
    folder = Path(llm_comply.__file__).parent / "specs"
    case = CASES[name]
    specification = SpecLoader(str(folder / SPECIFICATIONS[kind]))
    http.close_client()  # it fails on a connection that the server has closed
    result = runner.TestRunner(config, [case], specification).run_one(case)
    assert result.status.value == "passed", "\n".join([*result.errors, str(result.response)])
