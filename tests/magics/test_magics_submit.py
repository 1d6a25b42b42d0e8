"""Calls of .ollama that a server answers in the background: jobs, in this kernel and in others."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jupyter_ollama_magics.accessor  # noqa: F401 - adds .ollama
import pandas as pd
import pytest
from batch_models import LONG, colour_store, question
from cli_process import serving
from conftest import loaded_kernel, loaded_shell
from IPython.core.interactiveshell import InteractiveShell
from jupyter_ollama_magics import Job
from jupyter_ollama_magics.failures import OllamaMagicsError
from row_server import RowServer

ENDLESS = {"repetition_stop": False}


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that has the model "colours"."""
    folder = tmp_path_factory.mktemp("colours")
    models = colour_store(folder)
    with serving({**os.environ, "HOME": str(folder)}, models, folder) as served:
        yield f"http://{served.host}"


@pytest.fixture
def at_colours(colours: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", colours)
    return colours


@pytest.fixture
def at_starters(chat_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", chat_server)
    return chat_server


def rows(count: int) -> pd.DataFrame:
    """Return questions with an index of texts; the last one comes twice, then one is missing."""
    texts = [question(number)[0] for number in range(count)]
    frame = pd.DataFrame({"id": range(count + 2), "text": [*texts, texts[-1], None]})
    return frame.set_index(pd.Index([f"r{number}" for number in range(count + 2)], name="row"))


def test_a_job_gives_the_answers_of_the_call(at_colours: str) -> None:
    data = rows(7)
    job = data.ollama.submit("{text}", "colours", into="answer")
    assert job.wait().status == "completed"
    assert job.counts == (7, 0, 7)  # equal rows are sent once, missing ones not at all
    found = job.frame(data)
    called = data.ollama.chat("{text}", "colours", into="answer", errors="column")
    pd.testing.assert_frame_equal(found, called)
    assert found["answer"].iloc[0] == question(0)[1]
    assert job.frame().columns.tolist() == ["answer", "answer_error"]
    pd.testing.assert_index_equal(job.frame().index, data.index)
    with pytest.raises(OllamaMagicsError, match="another index"):
        job.frame(data.reset_index())


SCHEMA = {"properties": {"stars": {"type": "integer"}}, "required": ["stars"]}


@dataclass
class Mood:
    mood: str
    stars: int


CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (("chat", "What is {text}?"), {"options": {"num_predict": 4, "temperature": 0}}),
    (("chat", "{text}"), {"schema": SCHEMA, "options": {"temperature": 0}}),
    (("extract", Mood, "{text}"), {"options": {"num_predict": 40}}),
    (("extract", Mood, "{text}"), {"into": "is", "examples": [("Bad", {"mood": "b", "stars": 1})]}),
    (("classify", ["good", "bad"], "{text}"), {"into": "label"}),
    (("classify", ["good", "bad"]), {"probabilities": True, "prompt": "text"}),
    (("classify", ["red", "dear"], "{text}"), {"multi": True}),
    (("filter", "{text} is praise"), {"threshold": 0}),
    (("embed", "text"), {"model": "all-minilm", "dimensions": 8}),
    (("embed", "text"), {"model": "all-minilm", "expand": True}),
    (("classify", ["pet", "money"], "text"), {"model": "all-minilm", "by": "embedding"}),
]


@pytest.mark.parametrize(("arguments", "keywords"), CALLS)
def test_operators_here_and_in_another_kernel(
    at_starters: str, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> None:
    """A job that is loaded knows no more than the server, and gives the same columns."""
    times = pd.date_range("2026-01-01", periods=4, freq="h", tz="Europe/Rome", name="when")
    texts = ["Great, I love it", None, "It broke", "Great, I love it"]
    data = pd.DataFrame({"text": texts}, index=times)
    keywords = {"model": "smollm2", "errors": "column"} | keywords
    job = data.ollama.submit(*arguments, **keywords)
    job.wait()
    called = getattr(data.ollama, arguments[0])(*arguments[1:], **keywords)
    wanted = called.to_frame("answer") if isinstance(called, pd.Series) else called
    loaded = Job.load(job.id)
    shown = [name for name in wanted.columns if name != "text"]
    for one in (job, loaded):
        found = one.frame(data)
        pd.testing.assert_frame_equal(found[shown], wanted[shown], check_freq=False, atol=1e-5)
        assert found["text"].tolist()[0] == texts[0]
    if arguments[0] != "filter":
        index = loaded.frame().index
        assert index.equals(data.index)
        assert (index.dtype, index.name) == (data.index.dtype, "when")


def test_another_kernel_picks_up_the_job(at_colours: str) -> None:
    with loaded_kernel(at_colours) as kernel:
        code = f"""
            import pandas as pd, jupyter_ollama_magics.accessor
            job = pd.Series({[question(0)[0], question(1)[0]]!r}, index=[7, 9]).ollama.submit(
                "{{text}}", "colours")
            print(job.id)
        """
        _, messages = kernel.run(textwrap.dedent(code))
        job_id = messages[-1][1]["text"].strip()
    frame = Job.load(job_id).wait().frame()
    assert frame["answer"].to_dict() == {7: question(0)[1], 9: question(1)[1]}


def test_a_failed_row_has_an_error(at_colours: str) -> None:
    data = pd.Series([question(0)[0], question(1)[0]], index=["a", "b"])
    cut = {"schema": SCHEMA, "options": {"num_predict": 1}}
    errors = data.ollama.submit("{text}", "colours", **cut).wait().frame()["error"]
    assert errors.str.contains("was cut off").tolist() == [True, True]
    missing = data.ollama.submit("{text}", "colours", errors="coerce", **cut).wait().frame()
    assert missing["answer"].isna().tolist() == [True, True]
    strict = data.ollama.submit("{text}", "colours", errors="raise", **cut)
    with pytest.raises(OllamaMagicsError, match="row a: the answer was cut off"):
        strict.wait().frame()


def test_cancelled_jobs_keep_their_answers(at_colours: str) -> None:
    data = pd.Series([question(0)[0], f"{LONG}, please"])
    job = data.ollama.submit("{text}", "colours", options=ENDLESS)
    while not job.refresh().counts[0]:
        pass
    with pytest.raises(OllamaMagicsError, match="is in_progress: wait"):
        job.frame()
    assert "1/2 requests" in repr(job)
    assert 'value="1"' in job._repr_html_()
    assert job.wait(timeout=0.05).status == "in_progress"
    frame = job.cancel().wait().frame()
    assert job.status == "cancelled"
    assert frame["answer"].tolist()[0] == question(0)[1]
    assert "cancelled" in frame["error"].tolist()[1]
    job.delete()
    with pytest.raises(OllamaMagicsError, match="%ollama jobs lists"):
        Job.load("batch_nope")


@pytest.fixture
def shell(at_colours: str) -> Iterator[InteractiveShell]:
    with loaded_shell() as shell:
        yield shell


def test_jobs_are_listed_and_cancelled_by_the_magic(shell: InteractiveShell) -> None:
    job = pd.Series([LONG]).ollama.submit("{text}", "colours", options=ENDLESS)
    listed = shell.run_line_magic("ollama", "jobs")
    assert listed["id"].iloc[0] == job.id
    assert listed["method"].iloc[0] == "chat"
    assert listed["model"].iloc[0] == "colours"
    shell.run_line_magic("ollama", f"jobs cancel {job.id}")
    assert job.wait().status == "cancelled"


REFUSED: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    (("{text}",), {"model": ["a", "b"]}, "one model"),
    (("{text}",), {"cache": True}, "no cache"),
    (("classify", ["a", "b"]), {"by": "auto", "prompt": "text"}, "needs by="),
    (("clasify", ["a", "b"]), {}, "No operator has the name"),
    (("classify", [object()]), {"prompt": "text"}, "label"),
]


@pytest.mark.parametrize(("arguments", "keywords", "text"), REFUSED)
def test_calls_that_cannot_be_submitted(
    at_colours: str, arguments: tuple[Any, ...], keywords: dict[str, Any], text: str
) -> None:
    with pytest.raises(OllamaMagicsError, match=text):
        rows(2).ollama.submit(*arguments, **({"model": "colours"} | keywords))


def test_an_index_that_json_lacks(at_colours: str) -> None:
    data = pd.Series(["RED"], index=pd.Index([object()]))
    with pytest.raises(OllamaMagicsError, match="reset_index"):
        data.ollama.submit("{text}", "colours")


def test_other_servers_have_no_batches(echo: RowServer) -> None:
    with pytest.raises(OllamaMagicsError, match="has no batches"):
        pd.Series(["a"]).ollama.submit("{text}", echo.models[0]["name"])
