"""Recorded answers of nine families of models, checked by the package that has them."""

from __future__ import annotations

import pytest
from canitoolcall.results import Status
from recorded_answers import fixtures, verdict

DIFFERENT = {
    "gemma4/vllm-text-before-call": "two others of its family want the blank before a call kept",
    "glm/glm47-significant-whitespace": "Ollama's parser takes one line break off a value's ends",
    "glm/glm47-truncated-before-close-call": "Ollama's parser counts a call with all its arguments",
}
"""Answers that we parse differently, with reasons."""


def test_recorded_answers_pass(capsys: pytest.CaptureFixture[str]) -> None:
    failed = {}
    for fixture in fixtures():
        status, rows = verdict(fixture)
        if status is not Status.PASS:
            failed[fixture.id] = f"{status.value}: {rows[0].check} {rows[0].detail}"
    passed = len(fixtures()) - len(failed)
    with capsys.disabled():
        print(
            f"\ncanitoolcall: {passed} of {len(fixtures())} recorded answers pass",
            *(f"{name}: {report}" for name, report in failed.items()),
            sep="\n",
        )
    assert failed.keys() == DIFFERENT.keys()
