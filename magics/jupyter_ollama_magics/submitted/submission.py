"""Make a batch of a call: its requests are written to a file, which the server answers."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pandas as pd
from jupyter_ollama_client.batches import BatchClient
from jupyter_ollama_client.errors import OllamaResponseError

from ..failures import OllamaMagicsError
from ..reporting import reported
from ..rows.plan import Plan
from ..rows.registry import OPERATORS, named
from ..servers import Servers
from . import index_values
from .job import Job
from .question import FIELD, Question, kept
from .recording import Request, requests_of

NO_BATCHES = "This server has no batches: it is no jupyter_ollama of version 0.2 or newer."
MADE_BY = "jupyter_ollama"
"""The key of the metadata of batches that ``submit`` has made."""

NOT_TAKEN = {
    "cache": "a job keeps its answers on the server",
    "agree": "a job asks one model",
}


def submit(
    plan: Callable[..., Plan], asked: str, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> Job:
    """Send a call to the server and return its job. Raises OllamaMagicsError.

    ``plan`` makes the Plan of an operator, ``asked`` is an operator or a prompt for chat.
    """
    operator = asked
    if isinstance(asked, str) and difflib.get_close_matches(asked, OPERATORS, n=1, cutoff=0.75):
        named(asked)  # a misspelled operator is no prompt
    if not isinstance(asked, str) or asked not in OPERATORS:
        operator, arguments = "chat", (asked, *arguments)
    for name, why in NOT_TAKEN.items():
        if keywords.get(name):
            raise OllamaMagicsError(f"submit takes no {name}: {why}.")
    keywords = {"errors": "column"} | keywords
    made = plan(operator, *arguments, **keywords)
    _, shared = named(operator).bind(arguments, keywords)
    if not isinstance(made.model, str | None):
        raise OllamaMagicsError("submit takes one model.")
    if made.operator.decide is not None:
        raise OllamaMagicsError('submit needs by="chat" or by="embedding".')
    own = _own(operator, arguments, keywords)
    with closing(made.servers()) as servers:
        if len(servers.connections) != 1:
            raise OllamaMagicsError("submit takes one server.")
        with_files = any(shared[name] not in (None, False) for name in ("images", "audio"))
        return _send(servers, made, own, with_files)


def _own(operator: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the operator itself as JSON, with the prompt as it was given."""
    bound = named(operator).signature.bind(*arguments, **keywords)
    bound.apply_defaults()
    shared = {"model", "images", "audio", "errors", "into", "cache", "agree"}
    own = {name: value for name, value in bound.arguments.items() if name not in shared}
    return {name: kept(name, value) for name, value in own.items()}


def _send(servers: Servers, plan: Plan, own: dict[str, Any], with_files: bool) -> Job:
    assert isinstance(plan.model, str | None)
    connection = servers.connections[0]
    model = servers.choose(plan.model, plan.operator.capability)
    texts = list(dict.fromkeys(text for text in plan.texts if text is not None))
    if not texts:
        raise OllamaMagicsError("There is nothing to submit: no row has a text.")
    with reported(connection, model):
        servers.having(model, plan.operator.capability)
        requests = requests_of(plan.operator.task(servers, model), texts)
        paths = {request.path for request in requests}
        (path,) = paths
        question = _question(plan, own, model, with_files, texts, requests)
        client = BatchClient(connection.client)
        try:
            file = client.upload(b"".join(_lines(requests, question)), f"{plan.name}.jsonl")
        except OllamaResponseError as error:
            if error.status in (404, 405):
                raise OllamaMagicsError(NO_BATCHES) from error
            raise
        metadata = {
            MADE_BY: str(question.version),
            "operator": plan.name,
            "model": model[:512],
            "rows": str(len(plan.texts)),
        }
        batch = client.create(file["id"], path, metadata)
    return Job(batch, servers, question, plan)


def _question(
    plan: Plan,
    own: dict[str, Any],
    model: str,
    with_files: bool,
    texts: list[str],
    requests: list[Request],
) -> Question:
    numbers = {text: number for number, text in enumerate(texts)}
    data = plan.data
    is_series = isinstance(data, pd.Series)
    own = dict(own)
    return Question(
        operator=plan.name,
        prompt=own.pop("prompt"),
        arguments=own,
        model=model,
        into=plan.into,
        errors=plan.errors,
        with_files=with_files,
        name=str(data.name) if is_series and data.name is not None else None,
        columns=None if is_series else [str(name) for name in data.columns],
        index=index_values.as_json(data.index),
        places=[-1 if text is None else numbers[text] for text in plan.texts],
        sizes=[request.size for request in requests],
    )


def _lines(requests: list[Request], question: Question) -> Iterator[bytes]:
    """Yield the lines of the input file; the first one has the question."""
    extra: dict[str, Any] = {FIELD: question.as_json()}
    for number, request in enumerate(requests):
        for place, body in enumerate(request.bodies):
            line = {
                "custom_id": f"{number}.{place}",
                "method": "POST",
                "url": request.path,
                "body": body,
            }
            yield json.dumps(line | extra, ensure_ascii=False, allow_nan=False).encode() + b"\n"
            extra = {}
