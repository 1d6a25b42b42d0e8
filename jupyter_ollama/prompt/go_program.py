"""Running Go templates under limits, because templates of models are untrusted.

Imports gotpl, which is slow: import this module only to use a template.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import gotpl
from gotpl.compile import compile_template
from gotpl.runtime import INVALID, UNTYPED_NIL, render_program
from gotpl.runtime.gofmt import sprintf
from gotpl.runtime.policy import ExecutionBudgetState
from gotpl.runtime.sync_vm import _builtin_functions

from .budget import MAX_TEXT, Budget, OverBudget, check_source, current
from .errors import TemplateError
from .go_syntax import OUTPUT, cut_after_response, parse, variables, with_output
from .go_values import Printable, go_json, typescript_type

BUDGET = gotpl.ExecutionBudget(
    max_output_chars=MAX_TEXT,
    max_iterations=1_000_000,
    max_template_depth=100,
    max_function_calls=1_000_000,
)
SANDBOX = gotpl.SandboxPolicy(allow_custom_lookup=True, default_budget=BUDGET)
BASIC_KINDS = (bool, int, float, str)

MAX_ESCAPED = 2**18
"""The most characters that are escaped or quoted, which takes gotpl 1 µs for each."""

CONVERSION_STEPS = 8
"""The cost of a ``printf`` conversion in iterations of a loop, by the time it takes."""


class GoProgram:
    """A compiled template: complete, and cut after ``.Response``."""

    def __init__(self, source: str) -> None:
        check_source(source)
        try:
            parsed = parse(source, FUNCTIONS)
            cut = replace(parsed, root=cut_after_response(parsed.root))
            self.variables = variables(parsed)
            self._whole = compile_template(with_output(parsed), source=source)
            self._cut = compile_template(with_output(cut), source=source)
        except TemplateError:
            raise
        except RecursionError as error:
            raise TemplateError("template: nested too deeply") from error
        except ValueError as error:  # a number with more digits than Python parses
            raise TemplateError(f"template: {error}") from error

    def run(self, data: Mapping[str, Any], cut: bool = False) -> str:
        """Execute the template on its root variables; any failure is a TemplateError."""
        budget = current()
        functions = {**FUNCTIONS, OUTPUT: _Output(budget).pass_on}
        program = self._cut if cut else self._whole
        try:
            rendered: str = render_program(
                program,
                dict(data),
                functions=functions,
                missing_key="zero",
                sandbox=SANDBOX,
                budget=BUDGET,
                _budget_state=_Counted(BUDGET, budget),
            )
            return rendered
        except TemplateError:
            raise
        except gotpl.BudgetExceededError as error:
            raise OverBudget(str(error)) from error
        except gotpl.TemplateError as error:
            raise TemplateError(str(error)) from error
        except Exception as error:  # any failure is attributed to the hostile template
            raise TemplateError(f"template: {type(error).__name__}: {error}") from error


@lru_cache(maxsize=64)
def compile_source(source: str) -> GoProgram:
    """Compile a template, memoized."""
    return GoProgram(source)


class _Counted(ExecutionBudgetState):
    """Counts steps and calls of templates against the budget of the rendering.

    Calls are counted where gotpl checks their depth.
    """

    def __init__(self, limits: gotpl.ExecutionBudget, budget: Budget) -> None:
        super().__init__(limits)
        self._budget = budget

    def consume_output(self, amount: int) -> None:
        self._budget.step()
        self.output_chars += amount
        self._budget.check_text(self.output_chars)

    def consume_iteration(self) -> None:
        self._budget.step()
        super().consume_iteration()

    def consume_function_call(self) -> None:
        self._budget.step()
        super().consume_function_call()

    def check_template_depth(self, depth: int) -> None:
        self._budget.step()
        super().check_template_depth(depth)


class _Output:
    """Converts values with a text of their own to it, and counts characters."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def pass_on(self, *values: Any) -> Any:
        value = values[0] if values else INVALID  # a missing value passes no argument
        if isinstance(value, Printable):
            value = str(value)
        if isinstance(value, str):
            self._budget.text(len(value))
        return value


def _printf(form: Any, *values: Any) -> str:
    text, budget = str(form), current()
    sizes = [len(value) for value in values if isinstance(value, str)]
    if "q" in text and sum(sizes) > MAX_ESCAPED:
        raise OverBudget(f"more than {MAX_ESCAPED} characters to quote")
    sizes += [abs(value) for value in values if isinstance(value, int) and "*" in text]
    sizes += [int(digits[:12]) for digits in re.findall(r"\d+", text)]
    if text.count("%") * max(sizes, default=0) > MAX_TEXT:
        raise OverBudget("the formatted text is too long")
    budget.step(CONVERSION_STEPS * text.count("%"))
    written: str = sprintf(form, *values)
    budget.text(len(written))
    return written


def _counted(name: str, most: int = MAX_TEXT) -> Callable[..., Any]:
    """Return a function of gotpl whose texts are counted and limited to ``most`` characters."""
    function = _builtin_functions("go")[name]

    def counted(*values: Any) -> Any:
        size = sum(len(value) for value in values if isinstance(value, str))
        if size > most:
            raise OverBudget(f"{name}: more than {most} characters of text")
        current().text(size)
        return function(*values)

    return counted


def _equal(first: Any, *others: Any) -> bool:
    """Compare as Go does: a missing value is unequal to any other, without an error."""
    if not others:
        raise TypeError("missing argument for comparison")
    for other in others:
        if _is_nil(first) or _is_nil(other):
            same = _is_nil(first) and _is_nil(other)
        elif _kind(first) is not _kind(other):
            raise TypeError("incompatible types for comparison")
        elif _kind(first) is None:
            raise TypeError("non-comparable types")
        else:
            same = first == other
        if same:
            return True
    return False


def _is_nil(value: Any) -> bool:
    return value is None or value is INVALID or value is UNTYPED_NIL


def _kind(value: Any) -> type | None:
    return next((kind for kind in BASIC_KINDS if isinstance(value, kind)), None)


def _not_equal(first: Any, second: Any) -> bool:
    return not _equal(first, second)


def _current_date(*_layout: Any) -> str:
    return date.today().isoformat()


def _yesterday_date(*_layout: Any) -> str:
    return (date.today() - timedelta(days=1)).isoformat()


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": lambda value: go_json(None if _is_nil(value) else value),
    "currentDate": _current_date,
    "yesterdayDate": _yesterday_date,
    "toTypeScriptType": typescript_type,
    "printf": _printf,
    "eq": _equal,
    "ne": _not_equal,
    **{name: _counted(name, MAX_ESCAPED) for name in ("html", "js", "urlquery")},
    **{name: _counted(name) for name in ("index", "slice", "len", "lt", "le", "gt", "ge")},
}
"""Ollama's functions, and those of Go that gotpl implements differently or without limits."""
