"""Invalid arguments of ``.ollama`` raise one-line errors before a row is sent."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Callable
from typing import Any

import jupyter_ollama_magics.accessor  # noqa: F401
import numpy as np
import pandas as pd
import pytest
from jupyter_ollama_magics.failures import OllamaMagicsError
from pydantic import BaseModel
from real_kernel import Kernel
from row_server import RowServer, application
from scripted_server import ScriptedServer

ROWS = pd.Series(["x", "y", "z"], name="text")
FRAME = pd.DataFrame({"a": ["x", "y"], "b": [1, 2]})
TWICE = pd.DataFrame([["x", "y"]], columns=["a", "a"])
VECTORS = pd.Series([np.ones(3, np.float32)] * 3)


@pytest.fixture(autouse=True)
def echo(serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> RowServer:
    """The server that the accessors find, with a chat model and an embedding model."""
    server = RowServer()
    server.models[0]["digest"] = secrets.token_hex(32)
    embedding = {"name": "all-minilm:latest", "digest": "e" * 64, "capabilities": ["embedding"]}
    server.models.append(embedding)
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", serve(application(server)))
    return server


class Odd(BaseModel):
    call: Callable[[], int]


def extract(schema: Any) -> Callable[[], Any]:
    return lambda: ROWS.ollama.extract(schema)


def field(part: Any, **more: Any) -> Callable[[], Any]:
    return extract({"type": "object", "properties": {"x": part}, **more})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        # labels
        (lambda: ROWS.ollama.classify(pd.Series(["a", None]).unique()), "missing"),
        (lambda: ROWS.ollama.classify(["a", np.nan]), "missing"),
        (lambda: ROWS.ollama.classify(["a", pd.NA]), "missing"),
        (lambda: ROWS.ollama.classify(["a", " "]), "empty"),
        (lambda: ROWS.ollama.classify("yes"), "labels is a list"),
        (lambda: ROWS.ollama.classify(3), "labels is a list"),
        (lambda: ROWS.ollama.classify([1, "1"]), "like another"),
        (lambda: ROWS.ollama.classify([1, 1.0]), "like another"),
        (lambda: ROWS.ollama.classify([True, 1]), "like another"),
        (lambda: ROWS.ollama.classify([["a"], ["b"]]), "not a single value"),
        # columns and prompts
        (lambda: FRAME.ollama.similar("x", "c"), r"no column c\. It has a, b"),
        (lambda: FRAME.ollama.chat("c"), "none of the columns"),
        (lambda: FRAME.ollama.chat(["a"]), "prompt is a text"),
        (lambda: TWICE.ollama.chat("a"), "2 columns a"),
        (lambda: FRAME.ollama.chat("{b:q}"), r"\{b:q\} in the prompt"),
        (lambda: FRAME.ollama.chat("b"), "takes texts"),
        # models
        (lambda: ROWS.ollama.classify(["a"], model="all-minilm"), r"embeddings\..*chat: echo"),
        (lambda: ROWS.ollama.chat(model="all-minilm:latest"), r"embeddings\..*chat: echo"),
        (lambda: ROWS.ollama.extract(dict), "an object with fields"),
        (lambda: ROWS.ollama.chat(model=3), "model is a name"),
        (lambda: ROWS.ollama.chat(model="missing"), "not found.*%ollama pull missing$"),
        (lambda: ROWS.ollama.embed(model="missing"), "not found.*%ollama pull missing$"),
        # schemas
        (field({"type": "text"}), "properties.x has the type 'text'"),
        (field({"type": []}), "properties.x has the type"),
        (field("integer"), "properties.x is 'integer', not an object"),
        (field({"enum": []}), "properties.x has an enum"),
        (field({"$ref": "#/$defs/Pet"}), "refers to #/\\$defs/Pet"),
        (field({"$ref": "http://x.org/y"}), "refers to http"),
        (field({"items": {"type": "x"}}), r"properties.x.items has the type"),
        (field({"anyOf": []}), "properties.x.anyOf is not a list"),
        (field({"type": str}), "not JSON"),
        (field({"type": "string"}, required="x"), "required"),
        (extract({"properties": ["x"]}), "properties is not an object"),
        (extract({"type": "string"}), "an object with fields"),
        (extract(int), "an object with fields"),
        (extract("City"), "schema is a dict"),
        (extract(Odd), "cannot be a JSON schema"),
        (lambda: ROWS.ollama.chat(schema={"type": "strin"}), "has the type 'strin'"),
        # the others
        (lambda: ROWS.ollama.chat(options="hot"), "options is a dict"),
        (lambda: ROWS.ollama.chat(options={"stop": {1}}), "options is a dict"),
        (lambda: ROWS.ollama.chat(system=3), "system is a text"),
        (lambda: ROWS.ollama.chat(errors="ignore"), "errors is"),
        (lambda: ROWS.ollama.chat(into=3), "into is the name"),
        (lambda: ROWS.ollama.chat(cache=3), "cache is"),
        (lambda: ROWS.ollama.embed(dimensions=0), "positive integer"),
        (lambda: ROWS.ollama.embed(dimensions="many"), "positive integer"),
        (lambda: ROWS.ollama.similar(3), "query is a text"),
        (lambda: ROWS.ollama.similar("x", k=0), "positive integer"),
        (lambda: ROWS.ollama.cluster(0), "the number of groups"),
        (lambda: ROWS.ollama.map2d(k=0), "k is a positive integer"),
        (lambda: ROWS.ollama.cluster("3"), "the number of groups"),
        (lambda: ROWS.ollama.cluster(2, seed="x"), "seed is an integer"),
        (lambda: FRAME.ollama.similar("x", "b"), "neither texts nor vectors"),
        (lambda: ROWS.ollama.chat(into=""), "into is the name"),
        (lambda: ROWS.ollama.chat(cache=""), "cache is"),
        (lambda: ROWS.ollama.at(), "at needs addresses"),
        (lambda: ROWS.ollama.at("ftp://x").chat(), "must begin with http"),
    ],
)
def test_mistakes_are_reported_before_a_request(
    echo: RowServer, call: Callable[[], Any], message: str
) -> None:
    with pytest.raises(OllamaMagicsError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert echo.bodies == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ROWS.ollama.classify(), r"required argument: 'labels'\. Call .*\(labels\)\.$"),
        (lambda: ROWS.ollama.classify(["a"], lables=3), r"'lables'\. Did you mean labels=\?$"),
        (lambda: ROWS.ollama.chat(zzz=1), r"'zzz'\. It takes prompt, model, schema"),
        (lambda: ROWS.ollama.chat("a", "b", "c"), r"too many .*\. By position: prompt, model\.$"),
        (lambda: ROWS.ollama.aclassify(), "'labels'"),
        (lambda: ROWS.ollama.similar(), r"similar: .*'query'\. Call it as \.similar\(query\)\.$"),
        (lambda: FRAME.ollama.similar("x"), r"'column'\. Call it as \.similar\(query, column\)"),
        (lambda: ROWS.ollama.cluster(size=3), "'size'. It takes k, model, seed"),
        (lambda: ROWS.ollama.plan(), r"'operator'\. Call it as \.plan\(operator\)\.$"),
        (lambda: ROWS.ollama.plan("sum"), "No operator has the name 'sum'. There are chat,"),
    ],
)
async def test_calls_that_fit_no_signature(
    echo: RowServer, call: Callable[[], Any], message: str
) -> None:
    with pytest.raises(OllamaMagicsError, match=message) as caught:
        await call()
    assert "\n" not in str(caught.value)
    assert echo.bodies == []


def test_names_of_no_method() -> None:
    with pytest.raises(AttributeError, match=r"no clasify\. Did you mean \.classify\?$") as caught:
        ROWS.ollama.clasify(["a"])
    assert isinstance(caught.value, OllamaMagicsError)
    with pytest.raises(AttributeError, match=r"no zzz\. It has agg, at, chat, "):
        FRAME.ollama.zzz()
    assert not hasattr(ROWS.ollama, "_ipython_display_")
    assert callable(ROWS.ollama.chat)


def test_the_choice_of_a_model_names_the_argument(echo: RowServer) -> None:
    echo.models.append(echo.models[0] | {"name": "other"})
    with pytest.raises(OllamaMagicsError, match=r'Which model\? model="NAME", or %ollama use NAME'):
        ROWS.ollama.chat()


def test_vectors_of_another_model(echo: RowServer) -> None:
    with pytest.raises(OllamaMagicsError, match="vectors of 3 numbers and the query one of 2"):
        VECTORS.ollama.similar("x", model="all-minilm")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FRAME.ollama.chat("{a} of {c}", model="echo"), r"name of \{c\}; sent as typed"),
        (lambda: ROWS.ollama.chat(model="echo", options={"temprature": 1}), "temprature is not"),
    ],
)
def test_doubtful_arguments_cause_warnings(call: Callable[[], Any], message: str) -> None:
    with pytest.warns(UserWarning, match=message):
        call()


def test_other_arguments_cause_no_warning() -> None:
    options = {"temperature": 0, "seed": 1, "logit_bias": {}, "num_ctx": 4096, "stop": ["a"]}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        FRAME.ollama.chat('{{c}} {a} {"k": 1}', model="echo", options=options)


@pytest.mark.parametrize("name", ["registry.ollama.ai/library/echo:latest", "ECHO", "library/echo"])
def test_names_in_full_are_found(echo: RowServer, name: str) -> None:
    echo.models[0]["name"] = name if "/" in name and "." not in name else "echo:latest"
    assert ROWS.ollama.chat(model=name).tolist() == ["X", "Y", "Z"]


def test_errors_of_rows_name_models_as_typed(echo: RowServer) -> None:
    rows = pd.Series(["bad registry.ollama.ai/library/echo:latest"])
    found = rows.ollama.chat(errors="column", model="echo")
    assert found["error"].tolist() == ["cannot do bad echo"]


def test_a_kernel_shows_one_line(kernel: Kernel, server: ScriptedServer) -> None:
    kernel.run("import pandas as pd\ns = pd.Series(['a'])")
    for call, message in (
        ("s.ollama.classify(['a', None])", "missing"),
        ("s.ollama.classify(['a'], model='all-minilm')", "smollm2:135m"),
        ("s.ollama.clasify(['a'])", "Did you mean"),
        ("s.ollama.similar()", "Call it as"),
        ("s.ollama.chat(model=['a'])", "two models"),
    ):
        reply, messages = kernel.run(call)
        assert reply["status"] == "error"
        [line] = messages[-1][1]["traceback"]
        assert message in line
        assert "\n" not in line
    assert server.bodies("/api/chat") == []
