"""Answers that only repeat themselves are found, and texts that have reason to repeat are not."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterator

import pytest

from jupyter_ollama.engine.repetition import RepetitionDetector

Cut = Callable[[str], list[bytes]]


def in_bytes(text: str) -> list[bytes]:
    """Cut a text as the smallest vocabulary does."""
    return [bytes([byte]) for byte in text.encode()]


def in_words(text: str) -> list[bytes]:
    """Cut a text roughly as current vocabularies do: digits alone, blanks and symbols in runs."""
    parts = re.findall(r" ?[^\W\d_]{1,8}|\d| ?[^\s\w]{1,16}|\s{1,8}|.", text, re.DOTALL)
    assert "".join(parts) == text
    return [part.encode() for part in parts]


CUTS = pytest.mark.parametrize("cut", [in_bytes, in_words])


def tokens_until_found(pieces: list[bytes], *, structured: bool = False) -> int | None:
    """Return how many tokens of a text are read until it is taken for a repetition."""
    vocabulary: dict[bytes, int] = {}
    ids = [vocabulary.setdefault(piece, len(vocabulary)) for piece in pieces]
    detector = RepetitionDetector(list(vocabulary).__getitem__, structured=structured)
    return next((count for count, id in enumerate(ids, 1) if detector.add(id)), None)


MEASURES = [[round(row * 0.25, 2), 0.0, 0.0] for row in range(60)]
HTML_ROW = "  <tr><td>0</td><td>0</td></tr>\n"
ASCII_TABLE = "".join(
    f"| {code:3d} | 0x{code:02X} | {chr(code) if 32 < code < 127 else '.':^9} |\n"
    "+-----+------+-----------+\n"
    for code in range(128)
)
LEGITIMATE = {
    "ascii codes": ASCII_TABLE,
    "empty rows": "+----+----+----+\n|    |    |    |\n" * 60,
    "a table of zeros": "| x | y | z |\n| --- | --- | --- |\n" + "| 0 | 0 | 0 |\n" * 150,
    "code": "for i in range(10):\n" + "    print(0)\n" * 200,
    "code with text": 'print("Hello, my dear old world!")\n' * 150,
    "assembler": "    nop\n" * 200,
    "zeros": "zeros = [" + "0, " * 199 + "0]",
    "compact zeros": json.dumps([0] * 200, separators=(",", ":")),
    "equal floats": json.dumps([3.14159265358979] * 200),
    "equal floats in lines": json.dumps([3.14159265358979] * 200, indent=2),
    "equal texts": json.dumps(["pending"] * 200),
    "equal texts of several words": json.dumps(["New York City"] * 200),
    "nulls": json.dumps([None, True] * 100),
    "equal objects": json.dumps([{"id": 0, "name": "x"}] * 200),
    "equal objects in lines": json.dumps([{"id": 0}] * 60, indent=2),
    "rows of numbers": json.dumps(MEASURES),
    "a matrix of zeros": "\n".join(["0 " * 28] * 28),
    "separators": "\n".join(["-" * 180, "Chapter", "=" * 180, "text", "#" * 120, "_" * 199]),
    "an indented line": " " * 180 + "x",
    "blank lines": "a" + "\n" * 100 + "b",
    "html": "<table>\n" + HTML_ROW * 150 + "</table>",
    "an imposition": "I will not talk in class.\n" * 50,
    "a chorus": "La la la, the sun is shining, come along and sing with me!\n\n" * 4,
    "a laugh": "ha " * 25,
    "dots": "Contents" + "." * 150 + "12",
    "dna": "ACGT" * 50,
    "base64": "QUJD" * 50,
    "a csv of equal rows": "Alice,Bob,Carol,0.0\n" * 200,
    "a drawing": "".join(" " * (40 - i) + "*" * (2 * i + 1) + "\n" for i in range(40)) * 2,
    "numbered": "".join(f"{n}. The answer is the same as before.\n" for n in range(1, 200)),
    "times tables": "".join(f"{a} x {b} = {a * b}\n" for a in range(13) for b in range(13)),
}

LOOPS = {
    "a word": (" the", 140),
    "two words": ("no way ", 260),
    "a sentence": ("The capital of Italy is Rome. ", 1200),
    "a line": ("The capital of Italy is Rome.\n", 2000),
    "a paragraph": (
        "I'm sorry, but as a model I can't tell you what the capital is. In 1861, it was Turin, "
        "then Florence; it is better to ask somebody who knows it — for example a teacher.\n",
        2400,
    ),
    "a paragraph of French": ("Je ne sais pas où l'on peut trouver ça, « désolé » ! ", 1200),
    "Chinese": ("意大利的首都是罗马、罗马是一座美丽的城市。", 3500),
    "Hindi": ("इटली की राजधानी रोम है। ", 3000),
    "a function": (
        "def add(a, b):\n    return a + b\n\n"
        "def sub(a, b):\n    return a - b\n\nprint(add(1, 2))\n",
        2500,
    ),
    "zeros": ("0, ", 900),
    "print": ("print(0)\n", 2600),
    "exclamation marks": ("!", 201),
    "line ends": ("\n", 201),
}


@CUTS
@pytest.mark.parametrize("name", LEGITIMATE)
def test_texts_with_reason_to_repeat_are_not_repetitions(name: str, cut: Cut) -> None:
    text = "Of course! Here it is:\n\n" + LEGITIMATE[name] + "\n\nThat is all."
    assert tokens_until_found(cut(text)) is None
    assert tokens_until_found(cut(text), structured=True) is None


@CUTS
@pytest.mark.parametrize("name", LOOPS)
def test_loops_are_found(name: str, cut: Cut) -> None:
    unit, most = LOOPS[name]
    before = cut("Let me think about what you have asked me here, and answer that: ")
    pieces = before + cut(unit * (60_000 // len(unit)))[:30_000]
    found = tokens_until_found(pieces)
    assert found is not None
    assert found - len(before) <= most + 1


def test_a_run_of_equal_tokens_is_ended_as_by_ollama() -> None:
    assert tokens_until_found([b"<unk>"] * 100) == 31
    assert tokens_until_found([b""] * 100) == 31
    assert tokens_until_found([b" so"] * 30 + [b"."]) is None
    assert tokens_until_found([b"-"] * 300) == 201


def test_a_constraint_may_ask_for_many_equal_elements() -> None:
    numbers = in_words(json.dumps([0] * 700))
    assert tokens_until_found(numbers, structured=True) is None
    assert tokens_until_found(in_words("[" + "0, " * 5000), structured=True) is not None
    text = in_words('{"text": "' + "I am fine, thank you. " * 200)
    found = tokens_until_found(text, structured=True)
    assert found is not None
    assert found < 500


def random_answers() -> Iterator[tuple[list[int], list[int]]]:
    for seed in range(300):
        draw = random.Random(seed)
        vocabulary = draw.choice([2, 3, 10, 1000])
        unit = [draw.randrange(vocabulary) for _ in range(draw.randint(2, 120))]
        if draw.random() < 0.5:  # a unit that has repetitions within
            unit = unit[:5] * draw.randint(2, 8) + unit
        yield [draw.randrange(vocabulary) for _ in range(draw.randint(0, 600))], unit


def test_units_of_any_form_are_found_after_any_text() -> None:
    for before, unit in random_answers():
        # Each token is a word of prose, so a unit may come until there are 150 words.
        detector = RepetitionDetector(lambda token: f" {'abcdefghij'[token % 10]}".encode())
        for token in before:
            if detector.add(token):
                break
        count = max(6 * len(unit) + 128, 150 + 2 * len(unit), 31 * len(unit)) + len(unit) + 1
        stream = (unit * (count // len(unit) + 1))[:count]
        assert any(detector.add(token) for token in stream), (before, unit)


def test_a_random_text_is_not_a_repetition() -> None:
    draw = random.Random(1)
    pieces = [f" {draw.choice('abcdefgh')}".encode() for _ in range(20_000)]
    assert tokens_until_found(pieces) is None


def test_a_token_costs_no_measurable_time() -> None:
    """Sixteen streams at 50 steps a second are 800 tokens: a hundredth of a core at most."""
    draw = random.Random(2)
    words = [f" {draw.randrange(500)}".encode() for _ in range(500)]
    once = [draw.randrange(500) for _ in range(50_000)]
    twice = [*range(400)] * 12  # just not ended
    for ids in (once, twice):
        detector = RepetitionDetector(words.__getitem__)
        start = time.thread_time()
        assert not any(map(detector.add, ids))
        assert (time.thread_time() - start) / len(ids) < 12e-6
