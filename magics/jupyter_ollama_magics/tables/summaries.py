"""Answers about many rows: the request of one, and the report of how they were made."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..rows import tasks as row_tasks

if TYPE_CHECKING:
    from ..rows.dispatch import Dispatcher


class Summary(str):
    """An answer about rows, with a ``report`` of how it was made.

    The report is a dict: the numbers of ``rows`` with a value, of ``calls`` of the model, of
    ``levels`` of the tree, of ``parts`` of the rows, of rows that were ``split`` because they are
    longer than a prompt, of answers that were ``cut`` at ``num_predict``, and ``counted``, "tokens"
    if the server counted them, else "estimate".
    """

    report: dict[str, Any]

    def __new__(cls, text: str, report: dict[str, Any]) -> Summary:
        """Return a text with its report."""
        summary = super().__new__(cls, text)
        summary.report = report
        return summary

    def __getnewargs__(self) -> tuple[str, dict[str, Any]]:  # type: ignore[override]
        """Return what a copy is made of."""
        return str(self), self.report


@dataclass
class Summarize:
    """The answer to a prompt that must not be cut, as JSON of its text and whether it was cut.

    ``options`` have ``num_predict``, and ``context`` is the number of tokens of a request.
    """

    model: str
    system: str
    options: dict[str, Any]
    context: int
    in_flight: int = row_tasks.IN_FLIGHT

    def identity(self) -> list[Any]:
        """Return the values that the answers depend on."""
        return ["agg", self.system, self.options]

    def batches(self, texts: list[str]) -> Iterable[list[str]]:
        """Put each prompt into a request of its own."""
        return ([text] for text in texts)

    async def send(self, http: Dispatcher, texts: list[str]) -> list[Any]:
        """Return the answer to the only prompt. Raises ValueError if a server has cut it."""
        body = {
            "model": self.model,
            "messages": row_tasks.messages(self.system, texts[0]),
            "options": self.options,
            "stream": False,
            "truncate": False,
            "shift": False,
        }
        answer = await http.call("/api/chat", body)
        predict = int(self.options["num_predict"])
        if int(answer.get("prompt_eval_count") or 0) > self.context - predict:
            raise ValueError("the prompt exceeds its share of the context")
        text = (answer.get("message") or {}).get("content") or ""
        return [json.dumps([text.strip(), answer.get("done_reason") == "length"])]

    def parse(self, answer: Any) -> Any:
        """Return the text and whether it was cut."""
        return json.loads(answer)


def totals(summaries: Iterable[Summary]) -> dict[str, Any]:
    """Return the report of several answers, with theirs in the list "groups"."""
    reports = [summary.report for summary in summaries]
    whole: dict[str, Any] = {
        name: sum(report[name] for report in reports)
        for name in ("rows", "calls", "parts", "split", "cut")
    }
    whole["levels"] = max((report["levels"] for report in reports), default=0)
    whole["counted"] = reports[0]["counted"] if reports else ""
    return whole | {"groups": reports}
