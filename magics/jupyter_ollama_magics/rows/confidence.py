"""A task whose answers come with the probability that the model gives to them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jupyter_ollama_client.errors import OllamaResponseError

from ..failures import OllamaMagicsError
from .tasks import Task, quoted

if TYPE_CHECKING:
    from .dispatch import Dispatcher

NO_ROUTE = {404, 405, 501}
NO_LOGPROBS = "A cascade needs log-probabilities (logprobs), which this server does not send."


@dataclass(frozen=True)
class Sure:
    """The value of an answer, and its probability."""

    value: Any
    probability: float


@dataclass
class Confident:
    """A task that answers as another one, with the probability of the answer.

    That is the probability of the likeliest continuation where ``/api/score`` gives the answer,
    and so for labels; else the mean probability of the tokens of the answer. A raw answer is the
    list [raw answer of the other task, probability].
    """

    task: Task
    can_score: bool = True

    def __post_init__(self) -> None:
        self.model = self.task.model
        self.in_flight = self.task.in_flight

    def identity(self) -> list[Any]:
        """Return the values that the answers depend on."""
        return ["confident", *self.task.identity()]

    def batches(self, texts: list[str]) -> Iterable[list[str]]:
        """Put each text into a request of its own: a probability belongs to one text."""
        return ([text] for text in texts)

    async def send(self, http: Dispatcher, texts: list[str]) -> list[Any]:
        """Return the answer to the only text, and its probability."""
        asked: Any = _Asked(http, self)
        (answer,) = await self.task.send(asked, texts)
        return [[answer, asked.probability]]

    def parse(self, answer: Any) -> Sure:
        """Return the parsed answer. Raises ValueError."""
        return Sure(self.task.parse(answer[0]), float(answer[1]))


class _Asked:
    """A Dispatcher for one text, which adds probabilities to the requests.

    ``probability`` is the one of the least sure answer.
    """

    def __init__(self, http: Dispatcher, task: Confident) -> None:
        self._http = http
        self._task = task
        self.probability = 1.0

    async def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON object of a response. Raises OllamaClientError."""
        if path == "/api/score":
            return await self._scored(body)
        labels = (body.get("format") or {}).get("enum")
        if labels and self._task.can_score:
            try:
                return await self._chosen(body, labels)
            except OllamaResponseError as error:
                if error.status not in NO_ROUTE:
                    raise
                self._task.can_score = False
        return await self._answered(path, body)

    async def _scored(self, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._http.call("/api/score", body)
        shares: dict[str, float] = {}
        for one in answer["results"]:  # "yes" and "Yes" are one answer
            word = one["continuation"].strip().casefold()
            shares[word] = shares.get(word, 0.0) + one["probability"]
        self._add(max(shares.values()))
        return answer

    async def _chosen(self, body: dict[str, Any], labels: list[str]) -> dict[str, Any]:
        """Return the answer of ``/api/chat`` with the likeliest label."""
        choices = {
            "model": body["model"],
            "messages": body["messages"],
            "continuations": [quoted(label) for label in labels],
            "options": body.get("options"),
        }
        results = (await self._scored(choices))["results"]
        best = max(results, key=lambda one: one["probability"])
        return {"message": {"content": best["continuation"]}, "done_reason": "stop"}

    async def _answered(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._http.call(path, body | {"logprobs": True})
        logprobs = [token["logprob"] for token in answer.get("logprobs") or []]
        if not logprobs and (answer.get("message") or {}).get("content"):
            raise OllamaMagicsError(NO_LOGPROBS)
        self._add(sum(map(math.exp, logprobs)) / max(len(logprobs), 1))
        return answer

    def _add(self, probability: float) -> None:
        self.probability = min(self.probability, probability)


def agree(one: Any, other: Any) -> bool:
    """Return whether two values are the same answer.

    Texts may differ in case, spaces and the final punctuation.
    """
    if isinstance(one, str) and isinstance(other, str):
        return _bare(one) == _bare(other)
    try:
        return bool(one == other)
    except (TypeError, ValueError):
        return json.dumps(one, default=repr) == json.dumps(other, default=repr)


def _bare(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".!?")
