"""Recorded answers of nine families of models, judged by the package they come from."""

from __future__ import annotations

import pytest
from canitoolcall.results import Status
from recorded_answers import fixtures, verdict

PASSED = 468
"""Of 469. The last wants a blank before a call dropped that two others of its family want kept."""


def test_recorded_answers_pass(capsys: pytest.CaptureFixture[str]) -> None:
    failed = []
    for fixture in fixtures():
        status, rows = verdict(fixture)
        if status is not Status.PASS:
            failed.append(f"{fixture.id}: {status.value}: {rows[0].check} {rows[0].detail}")
    passed = len(fixtures()) - len(failed)
    with capsys.disabled():
        print(
            f"\ncanitoolcall: {passed} of {len(fixtures())} recorded answers pass",
            *failed,
            sep="\n",
        )
    assert passed >= PASSED, failed
