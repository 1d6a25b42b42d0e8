"""Which of two rows goes first: asked in both orders, so that a model's liking for one does not
count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..operators.score_tasks import Score
from ..rows import columns
from ..rows import tasks as row_tasks
from ..rows.registry import RowOperator
from ..servers import Servers

if TYPE_CHECKING:
    from ..rows.dispatch import Dispatcher

ORDER = (
    "Two texts are to be put in an order. Say which of them goes first. Answer 1 or 2 and nothing "
    "else.\n\nThe order: "
)
ANSWERS = ("1", "2")
FORMAT = {"type": "string", "enum": list(ANSWERS)}
MOST_UNFINISHED = 8

_unfinished: dict[tuple[Any, ...], dict[str, Any]] = {}
"""Raw answers of calls that have not finished, by call."""


@dataclass
class Remembering:
    """A task that answers as another one, and asks about no text twice in several jobs."""

    task: row_tasks.Task
    known: dict[str, Any]
    calls: int = 0

    def __post_init__(self) -> None:
        self.model, self.in_flight = self.task.model, self.task.in_flight

    def identity(self) -> list[Any]:
        """Return the values that the answers depend on."""
        return self.task.identity()

    def batches(self, texts: list[str]) -> Any:
        """Split texts into requests."""
        return self.task.batches(texts)

    async def send(self, http: Dispatcher, texts: list[str]) -> list[Any]:
        """Return the answer to the only text."""
        if texts[0] not in self.known:
            (self.known[texts[0]],) = await self.task.send(http, texts)
            self.calls += 1
        return [self.known[texts[0]]]

    def parse(self, answer: Any) -> Any:
        """Return the value of an answer."""
        return self.task.parse(answer)


@dataclass
class PairQuestions:
    """The questions of one call of ``rank``, and what the answers were.

    Parameters
    ----------
    order : str
        The order in words.
    options : dict
        Options of the requests.
    """

    order: str
    options: dict[str, Any]
    compared: int = 0
    disagreed: int = 0
    failed: int = 0
    _tasks: list[Remembering] = field(default_factory=list)
    _key: tuple[Any, ...] = ()

    @property
    def calls(self) -> int:
        """The number of requests that were answered."""
        return sum(task.calls for task in self._tasks)

    def operator(self) -> RowOperator:
        """Return the operator that answers texts of two rows by a number, above 0 for the first."""
        return RowOperator("completion", self._task, columns.objects)

    def _task(self, servers: Servers, model: str) -> row_tasks.Task:
        system = ORDER + self.order
        task: row_tasks.Task
        if servers.can_score(model):
            task = Score(model, system, ANSWERS, self.options, _lead)
        else:
            task = row_tasks.Chat(model, system, self.options, FORMAT, _choice)
        _, content = servers.having(model, "completion")
        self._key = (content, repr(task.identity()))
        known = _unfinished.setdefault(self._key, {})
        while len(_unfinished) > MOST_UNFINISHED:
            _unfinished.pop(next(iter(_unfinished)), None)  # threads share it
        self._tasks.append(Remembering(task, known))
        return self._tasks[-1]

    def finish(self) -> None:
        """Forget the answers: the call is done."""
        _unfinished.pop(self._key, None)

    def verdicts(self, leads: Sequence[Any]) -> list[bool]:
        """Return for each pair whether its first row goes first.

        ``leads`` are the answers for both orders of each pair, one after the other, None where a
        request failed. Rows that are alike keep their order.
        """
        found = []
        for straight, swapped in zip(leads[::2], leads[1::2], strict=True):
            self.compared += 1
            sides = [
                lead
                for lead in (straight, None if swapped is None else -swapped)
                if lead is not None
            ]
            self.failed += len(sides) < 2
            self.disagreed += len(sides) == 2 and sides[0] * sides[1] <= 0
            found.append(sum(sides) >= 0)
        return found


def pair_texts(texts: Sequence[str], pairs: Sequence[tuple[int, int]]) -> list[str]:
    """Return the questions about pairs of texts, each in both orders."""
    found = []
    for one, other in pairs:
        found += [_question(texts[one], texts[other]), _question(texts[other], texts[one])]
    return found


def _question(first: str, second: str) -> str:
    return f"Text 1:\n{first}\n\nText 2:\n{second}"


def _lead(logprobs: list[float]) -> float:
    return logprobs[0] - logprobs[1]


def _choice(answer: str) -> float:
    return 1.0 if row_tasks.one_of(ANSWERS)(answer) == "1" else -1.0
