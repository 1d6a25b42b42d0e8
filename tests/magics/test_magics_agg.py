"""``agg``: one answer about many rows, by prompts that fit the context."""

from __future__ import annotations

import copy
import pickle
import random
import re
import secrets
from collections import Counter
from collections.abc import Callable
from contextlib import closing

import jupyter_ollama_magics.accessor  # noqa: F401
import pandas as pd
import pytest
from jupyter_ollama_client import Client
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.rows.plan import Plan
from jupyter_ollama_magics.rows.registry import RowOperator
from jupyter_ollama_magics.servers import Servers
from jupyter_ollama_magics.tables import aggregate, row_parts, summaries, token_counts
from row_server import RowServer, application

MARKER = re.compile(r"m\d{10}")


@pytest.fixture
def recording(serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> RowServer:
    """A server that answers every prompt with its number of rows; the accessors find it."""
    server = RowServer()
    server.models[0]["digest"] = secrets.token_hex(32)
    server.answer = lambda text: f"{text.count(chr(10) + '- ')} rows"
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", serve(application(server)))
    return server


def reviews(rows: int, seed: int) -> tuple[pd.Series, list[str]]:
    """Return texts of 3 to 40 words, each with a marker of its own, and the markers."""
    made = random.Random(seed)
    markers = [f"m{made.getrandbits(32):010}" for _ in range(rows)]
    words = [
        "parcel",
        "late",
        "broken",
        "refund",
        "staff",
        "polite",
        "price",
        "size",
        "colour",
        "again",
    ]
    texts = []
    for marker in markers:
        chosen = made.choices(words, k=made.randint(3, 40))
        chosen.insert(made.randrange(len(chosen)), marker)
        texts.append(" ".join(chosen))
    return pd.Series(texts, name="text"), markers


def prompts(server: RowServer, system: str) -> list[str]:
    """Return the prompts of the first level, or of the others, by their system message."""
    return [
        body["messages"][-1]["content"]
        for body in server.bodies
        if body["messages"][0]["content"] == system
    ]


def test_each_of_2000_rows_is_in_one_prompt(recording: RowServer) -> None:
    texts, markers = reviews(2000, seed=11)
    summary = texts.ollama.agg("Summarise the complaints")
    first = prompts(recording, aggregate.ROWS)
    found = Counter(marker for prompt in first for marker in MARKER.findall(prompt))
    assert found == Counter(markers)
    # The rows keep their order.
    assert [
        one for prompt in sorted(first, key=first_marker(markers)) for one in MARKER.findall(prompt)
    ] == markers
    report = summary.report
    assert report["calls"] == len(recording.bodies) > len(first) == report["parts"] > 20
    assert (report["rows"], report["split"], report["cut"]) == (2000, 0, 0)
    assert report["levels"] == 2
    assert texts.ollama.last_report().calls == report["calls"]
    for body in recording.bodies:
        assert (body["truncate"], body["shift"]) == (False, False)
        size = sum(token_counts.estimate(message["content"]) for message in body["messages"])
        assert size + body["options"]["num_predict"] <= body["options"]["num_ctx"] == 4096


def first_marker(markers: list[str]) -> Callable[[str], int]:
    """Return a key that sorts prompts by the first marker in them."""

    def key(prompt: str) -> int:
        found = MARKER.search(prompt)
        assert found
        return markers.index(found[0])

    return key


def test_a_long_row_is_split_without_a_loss(recording: RowServer) -> None:
    texts, markers = reviews(900, seed=12)
    novel = "\n".join(texts)
    summary = pd.Series(["short", novel, None]).ollama.agg("What happens?")
    first = prompts(recording, aggregate.ROWS)
    assert Counter(MARKER.findall(" ".join(first))) == Counter(markers)
    words = Counter(word for prompt in first for word in prompt.split())
    for word, count in Counter(novel.split()).items():
        assert words[word] == count
    assert summary.report["split"] == 1
    # Equal pieces are sent once, and each counts.
    assert pd.Series(["same " * 9000]).ollama.agg("What happens?").report["parts"] >= 7
    assert summary.report["rows"] == 2


def test_groups_run_together(recording: RowServer) -> None:
    texts, markers = reviews(300, seed=13)
    frame = pd.DataFrame({"text": texts, "shop": (["b", "a", None] * 100)})
    by_name = frame.ollama.agg("Summarise {text}", by="shop")
    count = len(recording.bodies)
    by_series = frame.text.ollama.agg("Summarise text", by=frame.shop)
    assert by_name.index.tolist()[:2] == ["a", "b"]
    assert by_name.index.isna().sum() == 1
    assert by_name.tolist() == by_series.tolist()
    report = by_series.attrs["agg"]
    assert report["rows"] == 300
    assert report["calls"] == count == sum(one["calls"] for one in report["groups"])
    for prompt in prompts(recording, aggregate.ROWS)[:count]:
        shops = {markers.index(marker) % 3 for marker in MARKER.findall(prompt)}
        assert len(shops) <= 1
    assert recording.most_at_once > 1
    # A groupby of pandas drops the rows without a group, as it does elsewhere.
    grouped = frame.text.ollama.agg("Summarise text", by=frame.groupby("shop"))
    assert grouped.index.tolist() == ["a", "b"]


async def test_the_coroutine_gives_the_same(recording: RowServer) -> None:
    texts, _ = reviews(200, seed=14)
    summary = await texts.ollama.aagg("Summarise")
    assert (summary, summary.report["rows"]) == (texts.ollama.agg("Summarise"), 200)


def test_columns_of_a_frame(recording: RowServer) -> None:
    frame = pd.DataFrame({"city": ["Rome", "Oslo"], "text": ["Too\nhot", None], "n": [1, 2]})
    frame.ollama.agg("What is wrong in {city}? {text}")
    (prompt,) = prompts(recording, aggregate.ROWS)
    assert prompt == (
        "Task: What is wrong in city? text\n\n- city: Rome\n  text: Too\n  hot\n\n"
        "Task: What is wrong in city? text"
    )


def test_no_rows_need_no_call(recording: RowServer) -> None:
    summary = pd.Series([None], dtype=object).ollama.agg("Summarise")
    assert (summary, summary.report["calls"]) == ("", 0)
    result = pd.Series([None, "a"]).ollama.agg("Summarise", by=[1, 2])
    assert result.isna().tolist() == [True, False]
    assert len(recording.bodies) == 1


def test_a_summary_is_copied_with_its_report() -> None:
    summary = summaries.Summary("short", {"calls": 3})
    for one in (copy.deepcopy(summary), pickle.loads(pickle.dumps(summary))):
        assert (one, one.report) == ("short", {"calls": 3})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": ""}, "prompt is a text"),
        ({"prompt": "a", "options": {"num_predict": -1}}, "num_predict of agg is a positive"),
        ({"prompt": "a", "options": {"num_ctx": 128}}, "raise num_ctx or lower num_predict"),
        ({"prompt": "a", "options": 3}, "options is a dict"),
        ({"prompt": "a", "by": "nothing"}, "by does not make groups"),
        ({"prompt": "a", "by": [1]}, "by does not make groups"),
        ({"prompt": "a", "cache": 3}, "cache is True, False"),
    ],
)
def test_wrong_arguments(recording: RowServer, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(OllamaMagicsError, match=message):
        pd.Series(["x", "y"]).ollama.agg(**arguments)
    assert recording.bodies == []


def test_a_prompt_without_a_column() -> None:
    with pytest.raises(OllamaMagicsError, match=r"names none of the columns: \{a\}"):
        pd.DataFrame({"a": ["x"]}).ollama.agg("Summarise")


def test_a_failure_is_reported(recording: RowServer) -> None:
    with pytest.raises(OllamaMagicsError, match="agg: cannot do"):
        pd.Series(["bad"]).ollama.agg("Summarise")


def test_a_real_server_counts_tokens(chat_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", chat_server)
    texts, _ = reviews(10, seed=15)
    options = {"num_ctx": 400, "num_predict": 16}
    summary = texts.ollama.agg("Summarise the complaints", "smollm2", options=options)
    report = summary.report
    assert report["counted"] == "tokens"
    assert report["parts"] > 1
    assert report["calls"] > report["parts"]
    assert summary

    # A prompt that the server finds too long is halved, not cut.
    def too_few(servers: object, model: str) -> token_counts.Estimates:
        return token_counts.Estimates(model)

    monkeypatch.setattr(token_counts, "counting", too_few)
    monkeypatch.setattr(token_counts, "estimate", lambda text: 1)
    halved = texts.ollama.agg("Summarise the complaints", "smollm2", options=options)
    assert halved.report["parts"] == 1
    assert halved.report["calls"] >= 4
    assert halved


def test_tokens_of_texts_that_are_counted_together(
    chat_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", chat_server)
    texts = ["Hello there\n", "é 日本 \N{GRINNING FACE}\n", "<|im_start|>\n", "x" * 90 + "\n", "\n"]
    found: list[int] = []

    def column(values: list[int], index: pd.Index, name: object) -> pd.Series:
        found.extend(values)
        return pd.Series(values, index)

    operator = RowOperator("completion", token_counts.counting, column)
    Plan(operator, pd.Series(range(5)), texts, Servers.find, "smollm2").run()
    with closing(Client(chat_server)) as client:
        body = {"model": "smollm2", "special": False, "parse_special": False}
        alone = [
            len(client.call("POST", "/api/tokenize", body | {"content": text})["tokens"])
            for text in texts
        ]
    assert found == pytest.approx(alone, abs=1)
    assert all(
        token_counts.estimate(text) >= count for text, count in zip(texts, alone, strict=True)
    )


@pytest.mark.parametrize("text", ["", "a" * 999, "word " * 500, "é" * 77 + "\n" * 30, "x y" * 9])
def test_segments_are_the_text(text: str) -> None:
    segments = row_parts.split_text(text, 40)
    assert "".join(segments) == text
    assert all(0 < len(segment.encode()) <= 40 for segment in segments)


def test_parts_are_few_and_even() -> None:
    made = random.Random(1)
    counts = [made.randint(1, 30) for _ in range(200)]
    items = list(map(str, range(200)))
    parts = row_parts.pack(items, counts, 100)
    assert [item for part in parts for item in part] == items
    sums = [sum(counts[int(item)] for item in part) for part in parts]
    assert max(sums) <= 100
    assert len(parts) <= sum(counts) / 70
    assert row_parts.pack([], [], 100) == []
