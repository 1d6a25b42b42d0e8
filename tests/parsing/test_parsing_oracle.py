"""Every named parser has the results of Ollama's parser, however the answer is cut."""

from __future__ import annotations

import json

import pytest
from oracle import Case, cases, index, is_right, kept, read, result, same
from whole import Joined

PARSERS = list(index())


@pytest.mark.parametrize("parser", PARSERS)
def test_answers_are_read_as_ollama_reads_them(parser: str) -> None:
    wrong = [case for case in cases(parser) if not is_right(parser, case, whole(parser, case))]
    reports = [report(parser, case) for case in wrong]
    assert not reports, f"{len(reports)} of {len(cases(parser))}:\n" + "\n".join(reports)


@pytest.mark.parametrize("parser", PARSERS)
def test_cuts_make_no_difference(parser: str) -> None:
    for case in cases(parser):
        text, expected = case["text"], whole(parser, case)
        assert same(read(parser, case, list(text)), expected), case["name"]
        for at in range(1, len(text)):
            found = read(parser, case, [text[:at], text[at:]])
            assert same(found, expected), (case["name"], text[:at])


@pytest.mark.parametrize("parser", PARSERS)
def test_deliberate_differences_still_differ(parser: str) -> None:
    names = {case["name"]: case for case in cases(parser)}
    for name, ours in kept(parser).items():
        assert ours["why"]
        assert not same(result(ours), result(names[name]["expected"])), name


def whole(parser: str, case: Case) -> Joined:
    """Parse an answer that arrives at once."""
    return read(parser, case, [case["text"]])


def report(parser: str, case: Case) -> str:
    """Describe a wrong result."""
    rows = {key: value for key, value in case.items() if key.startswith("expected")}
    rows = {"text": case["text"], **rows, "ours": whole(parser, case)}
    lines = (f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in rows.items())
    return "\n".join([f"{case['name']} (think {case['think']})", *lines])
