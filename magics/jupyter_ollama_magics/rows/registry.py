"""Row operators: the methods of ``.ollama`` that send a request for each distinct row.

A function with the decorator ``row_operator`` defines one. From it follow the methods on Series,
DataFrames and Dask collections, the async twin, their signatures, their help and the names that
``OllamaRows`` takes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from ..failures import OllamaMagicsError
from .call_errors import WrongCall
from .menu import Menu

if TYPE_CHECKING:
    from ..servers import Servers
    from .tasks import Task

Errors = Literal["raise", "coerce", "column"]
Files = bool | str | list[str] | None


@dataclass(frozen=True)
class RowOperator:
    """An operator with its arguments, before its rows are known.

    Parameters
    ----------
    capability : str
        The capability that the model needs: "completion" or "embedding".
    task : callable
        Returns the task that sends the rows, from the servers and the name of the model.
    columns : callable
        Returns a Series or DataFrame, from a list with the value of each row (None where it is
        missing), the index and the name.
    columns_vary : bool
        Whether the columns depend on a response, as vectors depend on the model.
    keep : callable, optional
        Makes the result the rows of the data for whose value it returns True. The columns are then
        only seen with ``into``.
    decide : callable, optional
        Returns another operator and the name of its model, from the servers and the name of the
        model.
    verdict : callable, optional
        Returns what two models must have in common in their values for a row to agree in a cascade,
        as the likeliest label of probabilities; by default the whole value.
    """

    capability: str
    task: Callable[[Servers, str], Task]
    columns: Callable[[list[Any], pd.Index, Any], pd.Series | pd.DataFrame]
    columns_vary: bool = False
    keep: Callable[[Any], bool] | None = None
    verdict: Callable[[Any], Any] | None = None
    decide: Callable[[Servers, str | None], tuple[RowOperator, str]] | None = None


@dataclass(frozen=True)
class PromptedOperator:
    """An operator that ``build`` makes of the prompt of a call, a ``row_prompt.RowPrompt``.

    With ``is_sentence`` the prompt is a sentence about the row, and is sent apart from its values.
    """

    build: Callable[[Any], RowOperator]
    is_sentence: bool = False


Operator = RowOperator | PromptedOperator


class OperatorMethods(Menu):
    """The operators as methods; a subclass applies them."""

    def _apply(self, operator: str, /, *arguments: Any, **keywords: Any) -> Any:
        raise NotImplementedError


class AsyncOperatorMethods(OperatorMethods):
    """The operators as methods, and as coroutines with an "a" before the name."""

    async def _apply_async(self, operator: str, /, *arguments: Any, **keywords: Any) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class Definition:
    """An operator's name and the function that makes it of its own arguments."""

    name: str
    build: Callable[..., Operator]

    @cached_property
    def signature(self) -> inspect.Signature:
        """The signature of the methods: the parameters of ``build`` and the shared ones."""
        # The sort is stable: an operator's own parameters stay before the shared ones.
        parameters = [*_parameters(self.build), *_parameters(_shared)]
        parameters.sort(key=lambda parameter: parameter.kind)
        return inspect.Signature(parameters, return_annotation="pd.Series | pd.DataFrame")

    def bind(
        self, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> tuple[Operator, dict[str, Any]]:
        """Return the operator for a call, and the shared arguments. Raises WrongCall."""
        try:
            bound = self.signature.bind(*arguments, **keywords)
        except TypeError as error:
            raise WrongCall(self.name, self.signature, keywords, str(error)) from None
        bound.apply_defaults()
        own = {one.name: bound.arguments.pop(one.name) for one in _parameters(self.build)}
        return self.build(**own), bound.arguments

    def attach(self) -> None:
        """Add the method and its async twin to the classes of methods."""

        def method(rows: OperatorMethods, /, *arguments: Any, **keywords: Any) -> Any:
            return rows._apply(self.name, *arguments, **keywords)

        async def twin(rows: AsyncOperatorMethods, /, *arguments: Any, **keywords: Any) -> Any:
            return await rows._apply_async(self.name, *arguments, **keywords)

        head, sections = _documentation(self.build)
        examples = sections.pop("Examples", "")
        body = "\n\n".join(sections.values())
        awaited = f"Await the result of ``{self.name}``, without a progress bar."
        self._attach(OperatorMethods, self.name, method, head, body, examples)
        self._attach(AsyncOperatorMethods, f"a{self.name}", twin, awaited, body)

    def _attach(self, owner: type, name: str, method: Any, *documentation: str) -> None:
        rows = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = [rows, *self.signature.parameters.values()]
        method.__signature__ = self.signature.replace(parameters=parameters)
        method.__name__, method.__qualname__ = name, f"{owner.__qualname__}.{name}"
        method.__module__ = self.build.__module__
        method.__doc__ = "\n\n".join(filter(None, documentation)) + "\n"
        setattr(owner, name, method)


OPERATORS: dict[str, Definition] = {}
"""The operators by name."""


def named(operator: Any) -> Definition:
    """Return the operator of a name. Raises OllamaMagicsError."""
    if not isinstance(operator, str) or operator not in OPERATORS:
        known = ", ".join(sorted(OPERATORS))
        raise OllamaMagicsError(f"No operator has the name {operator!r:.40}. There are {known}.")
    return OPERATORS[operator]


def row_operator(build: Callable[..., Operator]) -> Callable[..., Operator]:
    """Define an operator with the name, own parameters and numpydoc text of ``build``.

    Raises ValueError if a parameter has the name of a shared one.
    """
    definition = Definition(build.__name__, build)
    definition.attach()
    OPERATORS[definition.name] = definition
    return build


def _shared(
    prompt: str | None = None,
    model: str | Sequence[str] | None = None,
    *,
    images: Files = None,
    audio: Files = None,
    errors: Errors = "raise",
    into: str | None = None,
    cache: bool | str | Path = False,
    agree: float | None = None,
) -> None:
    """Hold the parameters that all operators share.

    Parameters
    ----------
    prompt : str, optional
        The text that is sent for each row. ``{column}`` in it is replaced by the row's value; a
        Series has ``{text}`` and ``{}``. Without such a field, the text of a Series follows the
        prompt. For a DataFrame it may also be the name of a column of texts.
    model : str or list of two, optional
        The model; by default the one of ``%ollama use``, else the only one on the server. Of two,
        ``["small", "large"]``, the small one answers, and the large one gets the rows of which the
        small one is unsure (a cascade).
    images, audio : str or list of str, optional
        Columns of a DataFrame with files that are sent with the prompt: paths, bytes, or PIL
        images; a value may be a list of them. ``{column}`` in the prompt is then "the image" or
        "the sound". True for a Series whose values are the files. The model must see or hear.
    errors : {"raise", "coerce", "column"}
        What happens to a row that fails: "raise" stops at the first one, "coerce" leaves its result
        missing, "column" also adds a column with the errors.
    into : str, optional
        Return the DataFrame with the result in this column, or in columns with this prefix.
    cache : bool, str or Path
        Keep the answers in a file and read known ones from it: in the user's cache folder (True),
        or in the file that is named.
    agree : float, optional
        The share of rows in which the result of a cascade agrees with the large model: 0.95 by
        default. How sure the small model must be is learned on a sample that both answer.

    Raises
    ------
    OllamaMagicsError
        If an argument is invalid, no server or model is found, or a row fails with
        ``errors="raise"``.
    RowsInterrupted
        If the kernel is interrupted. The same call continues with the remaining rows.
    """


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


def _documentation(build: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """Return the summary of an operator, and its sections with the shared parameters added."""
    head, own = _sections(build)
    _, shared = _sections(_shared)
    if "Parameters" in own:
        own["Parameters"] += "\n" + shared["Parameters"].split("\n", 2)[2]
    sections = shared | own
    order = ("Parameters", "Returns", "Raises", "Examples")
    return head, {title: sections[title] for title in order if title in sections}


def _sections(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """Return the text before the sections of a numpydoc docstring, and the sections by title."""
    head, *parts = re.split(r"\n\n(?=[A-Z]\w+\n-+\n)", inspect.getdoc(function) or "")
    return head, {part.partition("\n")[0]: part for part in parts}
