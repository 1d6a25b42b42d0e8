"""The requests to /api/score: how likely a model takes given answers to be.

The answers follow a conversation in the model's own chat format.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from jupyter_ollama_client.errors import OllamaResponseError

from ..failures import OllamaMagicsError
from ..rows.tasks import IN_FLIGHT, NO_SCORE, Turns, messages, quoted
from ..servers import NO_ROUTE

if TYPE_CHECKING:
    from ..rows.dispatch import Dispatcher

YES_AND_NO = ("yes", "Yes", "no", "No")
"""The answers to a question of yes or no that are compared; half of them mean yes."""


@dataclass
class Score:
    """The log-probability of each of the ``answers`` to each text, read by ``reader``.

    A raw answer is a list of log-probabilities; the reader may raise ValueError.
    """

    model: str
    system: str | None
    answers: Sequence[str]
    options: dict[str, Any] | None
    reader: Callable[[list[float]], Any] = list
    turns: Turns = ()
    in_flight: int = IN_FLIGHT

    def identity(self) -> list[Any]:
        """Return the values that the answers depend on."""
        return ["score", self.system, list(self.answers), self.options, *self.turns]

    def batches(self, texts: list[str]) -> Iterable[list[str]]:
        """Put each text into a request of its own."""
        return ([text] for text in texts)

    async def send(self, http: Dispatcher, texts: list[str]) -> list[Any]:
        """Return the log-probabilities of the answers to the only text."""
        return [await self.logprobs(http, texts[0])]

    async def logprobs(self, http: Dispatcher, text: str) -> list[float]:
        """Return the log-probability of each answer to a text."""
        body = {
            "model": self.model,
            "messages": messages(self.system, text, self.turns),
            "continuations": list(self.answers),
            "options": self.options,
        }
        try:
            answer = await http.call("/api/score", body)
        except OllamaResponseError as error:
            if error.status in NO_ROUTE:
                raise OllamaMagicsError(NO_SCORE) from None
            raise
        return [float(one["logprob"]) for one in answer["results"]]

    def parse(self, answer: Any) -> Any:
        """Return the value of the log-probabilities."""
        return self.reader([float(one) for one in answer])


@dataclass
class ScoreEach(Score):
    """The log-probabilities of the answers to each text before each of the ``endings``.

    A raw answer is a list of such lists, and ``reader`` reads all of them.
    """

    endings: Sequence[str] = ("",)
    reader: Callable[[list[Any]], Any] = list

    def __post_init__(self) -> None:
        self.in_flight = max(1, IN_FLIGHT // len(self.endings))

    def identity(self) -> list[Any]:
        """Return the values that the answers depend on."""
        return ["each", list(self.endings), *super().identity()]

    async def send(self, http: Dispatcher, texts: list[str]) -> list[Any]:
        """Return the log-probabilities for the only text; its requests run at a time."""
        asked = (self.logprobs(http, texts[0] + ending) for ending in self.endings)
        return [list(await asyncio.gather(*asked))]

    def parse(self, answer: Any) -> Any:
        """Return the value of all lists of log-probabilities."""
        return self.reader(answer)


def written(choices: Sequence[str]) -> Callable[[str], str]:
    """Return a function that writes a choice as the model answers it, to be scored.

    Plain words are the likeliest answers and the shortest. If one begins like another, as "new" and
    "new york" do, all are written as JSON: the probability of "new" would include the other.
    """
    known = sorted(choices)
    alike = any(longer.startswith(one) for one, longer in pairwise(known))
    return quoted if alike else str


def shares(logprobs: Sequence[float]) -> list[float]:
    """Return the probabilities of answers among each other: they add up to 1."""
    most = max(logprobs)
    weights = [math.exp(one - most) for one in logprobs]
    whole = sum(weights)
    return [weight / whole for weight in weights]


def yes(logprobs: Sequence[float]) -> float:
    """Return the probability of yes, from the log-probabilities of ``YES_AND_NO``."""
    found = shares(logprobs)
    return sum(found[: len(found) // 2])


def likeliest(values: Sequence[float]) -> int:
    """Return the index of the largest value, the first of equal ones."""
    return max(range(len(values)), key=values.__getitem__)
