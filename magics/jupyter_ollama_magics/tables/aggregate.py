"""``agg``: one answer about many rows, by a tree of prompts that each fit the context."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..failures import OllamaMagicsError
from ..rows import columns
from ..rows import tasks as row_tasks
from ..rows import texts as row_texts
from ..rows.plan import Plan
from ..rows.registry import RowOperator
from . import row_parts, token_counts
from .steps import Steps
from .summaries import Summarize, Summary

if TYPE_CHECKING:
    from ..servers import Servers

ROWS = (
    "You are given rows of a table, each after a dash. Do the task for these rows and use nothing "
    "else. Be brief and keep names and numbers."
)
ANSWERS = (
    "You are given answers to the task, each after a dash; each is about other rows of one table. "
    "Put them together to one answer for all rows. Leave no finding out and say nothing twice."
)
CONTINUED = "- (continued) "
"""The beginning of a line with the rest of a row."""

CONTINUED_TOKENS = 16
"""More tokens than CONTINUED has in any vocabulary."""

TEMPLATE_TOKENS = 128
"""Tokens that are left for the words of the chat template."""

MAX_ANSWER = 512
"""Tokens of an answer by default, but no more than an eighth of the context."""

LEAST_TOKENS = 64
"""The fewest tokens of rows in a prompt."""

Group = Hashable


@dataclass
class Aggregation:
    """A call of ``agg``: ``plan`` makes a Plan from an operator and texts."""

    prompt: str
    plan: Callable[[RowOperator, Sequence[str]], Plan]
    options: dict[str, Any]
    _context: int = 0
    _counted: str = ""
    _calls: dict[Group, int] = field(default_factory=dict)
    _cut: dict[Group, int] = field(default_factory=dict)
    _split: dict[Group, int] = field(default_factory=dict)

    def run(self, groups: dict[Group, list[str]]) -> Steps[dict[Group, Summary]]:
        """Return the answer of each group; all groups of a level run at the same time."""
        level = 0
        rows = {group: len(texts) for group, texts in groups.items()}
        first_parts: dict[Group, int] = {}
        levels = dict.fromkeys(groups, 0)
        answers: dict[Group, list[str]] = dict(groups)
        waiting = [group for group, texts in groups.items() if texts]
        while waiting:
            system = ROWS if level == 0 else ANSWERS
            parts = yield from self._parts({group: answers[group] for group in waiting}, system)
            if level == 0:
                first_parts = {group: len(found) for group, found in parts.items()}
            found = yield from self._ask(parts, system)
            for group in waiting:
                levels[group] += 1
                if level and len(found[group]) >= len(answers[group]):
                    raise OllamaMagicsError("The answers do not get fewer: lower num_predict.")
                answers[group] = found[group]
            waiting = [group for group in waiting if len(answers[group]) > 1]
            level += 1
        return {
            group: Summary(
                answers[group][0] if answers[group] else "",
                {
                    "rows": rows[group],
                    "calls": self._calls.get(group, 0),
                    "levels": levels[group],
                    "parts": first_parts.get(group, 0),
                    "split": self._split.get(group, 0),
                    "cut": self._cut.get(group, 0),
                    "counted": self._counted,
                },
            )
            for group in groups
        }

    def _parts(
        self, groups: dict[Group, list[str]], system: str
    ) -> Steps[dict[Group, list[list[str]]]]:
        """Return the lines of each group in parts that fit a prompt."""
        lines = {group: [row_parts.line(text) for text in groups[group]] for group in groups}
        frame = system + self._around([])
        every = [frame, *(text for texts in lines.values() for text in texts)]
        counts = yield from self._counts([text + row_parts.SEPARATOR for text in every])
        size = dict(zip(every, counts, strict=True))
        limit = self._limit(size[frame])
        parts: dict[Group, list[list[str]]] = {}
        for group, texts in lines.items():
            whole: list[tuple[str, int]] = []
            for text in texts:
                if size[text] <= limit:
                    whole.append((text, size[text]))
                    continue
                whole += yield from self._pieces(text, limit)
                self._split[group] = self._split.get(group, 0) + 1
            fitting, sizes = [text for text, _ in whole], [count for _, count in whole]
            parts[group] = row_parts.pack(fitting, sizes, limit)
        return parts

    def _pieces(self, text: str, limit: int) -> Steps[list[tuple[str, int]]]:
        """Return the pieces of a text that is longer than a prompt, and their tokens."""
        segments = row_parts.split_text(text, limit // 2)
        counts = yield from self._counts(segments)
        # Each piece is a line of its own, which says what it continues.
        joined = [
            "".join(part) for part in row_parts.pack(segments, counts, limit - CONTINUED_TOKENS)
        ]
        marked = [joined[0], *(CONTINUED + piece for piece in joined[1:])]
        counts = yield from self._counts([piece + row_parts.SEPARATOR for piece in marked])
        return list(zip(marked, counts, strict=True))

    def _counts(self, texts: list[str]) -> Steps[list[int]]:
        def task(servers: Servers, model: str) -> row_tasks.Task:
            if not self._context:
                self._context = int(
                    self.options.get("num_ctx")
                    or token_counts.context_length(servers.connections[0], model)
                )
            counter = token_counts.counting(servers, model)
            exact = isinstance(counter, token_counts.Counts)
            self._counted = "tokens" if exact else "estimate"
            return counter

        counts = yield self.plan(RowOperator("completion", task, columns.objects), texts)
        return [int(count) for count in counts]

    def _limit(self, frame: int) -> int:
        """Return the tokens of rows in a prompt whose other words have ``frame`` tokens."""
        predict = int(self.options.get("num_predict") or min(MAX_ANSWER, self._context // 8))
        self.options = self.options | {"num_ctx": self._context, "num_predict": predict}
        limit = self._context - predict - frame - TEMPLATE_TOKENS
        if limit < max(LEAST_TOKENS, 2 * predict + 32):
            raise OllamaMagicsError(
                f"A context of {self._context} tokens holds no two answers of {predict} tokens "
                "beside the prompt: raise num_ctx or lower num_predict in options."
            )
        return limit

    def _ask(
        self, parts: dict[Group, list[list[str]]], system: str
    ) -> Steps[dict[Group, list[str]]]:
        """Return the answers to the parts. A part that the server finds too long is halved."""
        found: dict[Group, list[Any]] = {group: [None] * len(parts[group]) for group in parts}
        places = [(group, at) for group in parts for at in range(len(parts[group]))]
        prompts = [self._around(parts[group][at]) for group, at in places]
        context, options = self._context, self.options

        def task(servers: Servers, model: str) -> row_tasks.Task:
            return Summarize(model, system, options, context)

        operator = RowOperator("completion", task, columns.objects)
        plan = replace(self.plan(operator, prompts), errors="column")
        result = yield plan
        for (group, at), answer, error in zip(
            places, result["answer"], result["error"], strict=True
        ):
            self._calls[group] = self._calls.get(group, 0) + 1
            if isinstance(answer, list):
                self._cut[group] = self._cut.get(group, 0) + bool(answer[1])
                found[group][at] = [answer[0]]
                continue
            if "exceed" not in str(error):
                raise OllamaMagicsError(f"agg: {error}.")
            halves = self._halves(parts[group][at], group)
            deeper = yield from self._ask({group: halves}, system)
            found[group][at] = deeper[group]
        return {
            group: [text for texts in answers for text in texts] for group, answers in found.items()
        }

    def _halves(self, lines: list[str], group: Group) -> list[list[str]]:
        if len(lines) > 1:
            middle = len(lines) // 2
            return [lines[:middle], lines[middle:]]
        text = lines[0]
        if len(text) < LEAST_TOKENS:
            raise OllamaMagicsError("The prompt of agg does not fit the context: raise num_ctx.")
        self._split[group] = self._split.get(group, 0) + 1
        first, *others = row_parts.split_text(text, 2 * len(text))
        return [[first], [CONTINUED + "".join(others)]]

    def _around(self, lines: list[str]) -> str:
        rows = row_parts.SEPARATOR.join(lines)
        return f"Task: {self.prompt}\n\n{rows}\n\nTask: {self.prompt}"


def fields_of(prompt: str, names: Sequence[str]) -> tuple[str, list[str]]:
    """Return a prompt with the names of its ``{field}``s in their place, and the fields."""
    used = list(dict.fromkeys(row_texts.used_fields(prompt, names))) if names else []
    for name in used:
        prompt = prompt.replace(f"{{{name}}}", name or "text")
    return prompt, used


def group_numbers(data: pd.Series | pd.DataFrame, by: Any) -> tuple[np.ndarray, pd.Index]:
    """Return the number of each row's group, -1 for none, and the index of the groups.

    ``by`` is what ``groupby`` of pandas takes, or a groupby. Rows whose group is missing are a
    group, unless the groupby drops them. Raises OllamaMagicsError.
    """
    try:
        grouped = by if hasattr(by, "ngroup") else data.groupby(by, dropna=False, observed=True)
        numbers = grouped.ngroup().to_numpy(float, na_value=-1)
        index = grouped.size().index
    except (KeyError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise OllamaMagicsError(f"by does not make groups of the rows: {reason}.") from None
    if len(numbers) != len(data):
        raise OllamaMagicsError("by is a groupby of other rows.")
    return numbers.astype(int), index
