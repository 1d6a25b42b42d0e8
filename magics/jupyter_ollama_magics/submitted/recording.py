"""The requests of a task, recorded in place of being sent, and its values by recorded answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from jupyter_ollama_client import vectors
from jupyter_ollama_client.responses import without_none

from ..failures import OllamaMagicsError
from ..interruptible import run_in_thread
from ..rows.dispatch import Dispatcher
from ..rows.tasks import Task

T = TypeVar("T")
Body = dict[str, Any]

SEVERAL = (
    "this call sends requests that follow from earlier answers, or to several paths; such rows "
    "cannot be submitted. Call the method itself."
)


@dataclass
class Request:
    """The requests of a task for some texts: their path, their bodies, and the number of texts."""

    path: str
    bodies: list[Body]
    size: int


class _Recorded(Exception):
    """A request was recorded."""


@dataclass
class _Recorder:
    """Takes the place of a Dispatcher that sends requests."""

    asked: list[tuple[str, Body]] = field(default_factory=list)

    async def call(self, path: str, body: Body) -> Any:
        self.asked.append((path, without_none(body)))
        raise _Recorded

    async def embed(self, body: Body) -> Any:
        return await self.call("/api/embed", body | {"encoding_format": "base64"})


@dataclass
class _Player:
    """Takes the place of a Dispatcher that gets the ``answers``, in the order of the requests."""

    answers: list[Body]

    async def call(self, path: str, body: Body) -> Body:
        if not self.answers:
            raise OllamaMagicsError(SEVERAL)
        return self.answers.pop(0)

    async def embed(self, body: Body) -> Body:
        return vectors.from_json(await self.call("/api/embed", body))


def requests_of(task: Task, texts: list[str]) -> list[Request]:
    """Return the requests that a task sends for texts. Raises OllamaMagicsError.

    Requests that a task sends at a time are recorded in their order.
    """

    async def record() -> list[Request]:
        found = []
        for batch in task.batches(texts):
            recorder = _Recorder()
            with suppress(_Recorded):
                await task.send(cast(Dispatcher, recorder), batch)
            paths = {path for path, _ in recorder.asked}
            if len(paths) != 1:
                raise OllamaMagicsError(SEVERAL)
            found.append(Request(paths.pop(), [body for _, body in recorder.asked], len(batch)))
        return found

    return run_in_thread(record())


def values_of(
    task: Task, sizes: Sequence[int], answers: Callable[[int], list[Body]]
) -> tuple[dict[int, Any], dict[int, str]]:
    """Return the values of texts, and the failures of the others, by the places of the texts.

    ``answers`` returns the answers to the requests for the texts of a batch, or raises ValueError
    with the message of one that failed. ``sizes`` are the numbers of texts of the batches.
    """

    async def play() -> tuple[dict[int, Any], dict[int, str]]:
        values: dict[int, Any] = {}
        failures: dict[int, str] = {}
        start = 0
        for number, size in enumerate(sizes):
            places = range(start, start + size)
            start += size
            try:
                player = cast(Dispatcher, _Player(answers(number)))
                raw = await task.send(player, [""] * size)
            except ValueError as error:
                failures |= dict.fromkeys(places, str(error))
                continue
            for place, answer in zip(places, raw, strict=True):
                try:
                    values[place] = task.parse(answer)
                except ValueError as error:
                    failures[place] = str(error)
        return values, failures

    return run_in_thread(play())


def answers_by_id(lines: Sequence[Mapping[str, Any]]) -> dict[str, Body | str]:
    """Return the answers of the lines of output and error files by custom_id, errors as texts."""
    return {line["custom_id"]: _answer(line) for line in lines}


def _answer(line: Mapping[str, Any]) -> Body | str:
    response = line.get("response")
    if response is None:
        return str((line.get("error") or {}).get("message") or "not answered")
    body: Body = response["body"]
    if response["status_code"] < 400:
        return body
    error = body.get("error", "failed")
    return str(error["message"]) if isinstance(error, dict) else str(error)
