"""Run Go templates under limits, for templates come with models that nobody has read.

Imports gotpl, so nothing may import this module before a template is really at hand.
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

from .errors import TemplateError
from .go_syntax import OUTPUT, cut_after_response, parse, variables, with_output
from .go_values import Printable, go_json, typescript_type

MAX_TEXT = 64 * 1024 * 1024
"""Characters that one rendering may make, those of values on their way to the output included."""

BUDGET = gotpl.ExecutionBudget(
    max_output_chars=MAX_TEXT,
    max_iterations=1_000_000,
    max_template_depth=100,
    max_function_calls=1_000_000,
)
SANDBOX = gotpl.SandboxPolicy(allow_custom_lookup=True, default_budget=BUDGET)
BASIC_KINDS = (bool, int, float, str)


class GoProgram:
    """A compiled template: whole, and cut after ``.Response``."""

    def __init__(self, source: str) -> None:
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
        except ValueError as error:  # a number of more digits than Python reads
            raise TemplateError(f"template: {error}") from error

    def run(self, data: Mapping[str, Any], cut: bool = False) -> str:
        """Execute the template on its root variables; any failure is a TemplateError."""
        functions = {**FUNCTIONS, OUTPUT: _Output().pass_on}
        program = self._cut if cut else self._whole
        try:
            return render_program(
                program,
                dict(data),
                functions=functions,
                missing_key="zero",
                sandbox=SANDBOX,
                budget=BUDGET,
            )
        except TemplateError:
            raise
        except gotpl.TemplateError as error:
            raise TemplateError(str(error)) from error
        except Exception as error:  # whatever hostile input breaks is still the template's fault
            raise TemplateError(f"template: {type(error).__name__}: {error}") from error


@lru_cache(maxsize=64)
def compile_source(source: str) -> GoProgram:
    """Compile a template once however often it is asked for."""
    return GoProgram(source)


class _Output:
    """Turns values that have a text of their own into it, and counts characters."""

    def __init__(self) -> None:
        self.characters = 0

    def pass_on(self, *values: Any) -> Any:
        value = values[0] if values else INVALID  # nothing arrives when a value is not there
        if isinstance(value, Printable):
            value = str(value)
        if isinstance(value, str):
            self.characters += len(value)
            if self.characters > MAX_TEXT:
                raise gotpl.BudgetExceededError(f"more than {MAX_TEXT} characters of text")
        return value


def _printf(form: Any, *values: Any) -> str:
    text = str(form)
    sizes = [len(value) for value in values if isinstance(value, str)]
    sizes += [abs(value) for value in values if isinstance(value, int) and "*" in text]
    sizes += [int(digits) for digits in re.findall(r"\d+", text)]
    if text.count("%") * max(sizes, default=0) > MAX_TEXT:
        raise ValueError("the formatted text is too long")
    return sprintf(form, *values)


def _equal(first: Any, *others: Any) -> bool:
    """Compare as Go does: a missing value equals no present one, and that is no error."""
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
}
"""Ollama's functions, and those of Go that gotpl has but not quite as Go does or without limit."""
