"""Operators of several calls: the calls are yielded as Plans, and one driver runs them.

So an operator is written once, and its method and its coroutine run it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from functools import wraps
from typing import Any, TypeVar

import pandas as pd

from ..rows import report
from ..rows.plan import Plan
from ..rows.report import RowReport

T = TypeVar("T")
C = TypeVar("C", bound=type)

Steps = Generator[Plan, Any, T]
"""Yields Plans, receives their results and returns a value."""


def run(steps: Steps[T], name: str) -> T:
    """Run the Plans of the method ``name`` one after the other and return its value."""
    reports: list[RowReport] = []
    result: Any = None
    while True:
        try:
            plan = steps.send(result)
        except StopIteration as end:
            value: T = end.value
            return _with_report(value, name, reports)
        result = plan.run()
        reports.append(report.last())


async def run_async(steps: Steps[T], name: str) -> T:
    """Run the Plans of the method ``name`` in the event loop and return its value."""
    reports: list[RowReport] = []
    result: Any = None
    while True:
        try:
            plan = steps.send(result)
        except StopIteration as end:
            value: T = end.value
            return _with_report(value, name, reports)
        result = await plan.run_async()
        reports.append(report.last())


def _with_report(value: T, name: str, reports: list[RowReport]) -> T:
    """Keep the report of all Plans as the last one, and with the value if it is pandas data."""
    if reports:
        whole = report.joined(name, reports)
        report.remember(whole)
        if isinstance(value, pd.Series | pd.DataFrame):
            value.attrs["ollama"] = whole.as_dict()
    return value


def in_steps(method: Callable[..., Steps[Any]]) -> Callable[..., Any]:
    """Return a method that runs the steps of ``method`` and has its signature and text."""

    @wraps(method)
    def whole(self: Any, *arguments: Any, **keywords: Any) -> Any:
        return run(method(self, *arguments, **keywords), method.__name__)

    whole.steps = method  # type: ignore[attr-defined]
    whole.__signature__ = _signature(method)  # type: ignore[attr-defined]
    return whole


def with_twins(owner: C) -> C:
    """Add a coroutine ``aNAME`` for each method NAME of a class that runs in steps."""
    for name, method in list(vars(owner).items()):
        steps = getattr(method, "steps", None)
        if steps is not None:
            setattr(owner, f"a{name}", _twin(owner, name, steps))
    return owner


def _twin(owner: type, name: str, steps: Callable[..., Steps[Any]]) -> Callable[..., Any]:
    @wraps(steps)
    async def twin(self: Any, *arguments: Any, **keywords: Any) -> Any:
        return await run_async(steps(self, *arguments, **keywords), name)

    twin.__signature__ = _signature(steps)  # type: ignore[attr-defined]
    twin.__name__, twin.__qualname__ = f"a{name}", f"{owner.__qualname__}.a{name}"
    body = (inspect.getdoc(steps) or "").partition("\n\n")[2].partition("\n\nExamples\n")[0]
    twin.__doc__ = f"Await the result of ``{name}``, without a progress bar.\n\n{body}\n"
    return twin


def _signature(steps: Callable[..., Steps[Any]]) -> inspect.Signature:
    """Return the signature of a method in steps, with the value that it returns in the end."""
    signature = inspect.signature(steps)
    returned = str(signature.return_annotation).removeprefix("Steps[").removesuffix("]")
    return signature.replace(return_annotation=returned)
