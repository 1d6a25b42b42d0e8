"""The errors of calls of ``.ollama`` that fit no method, each in one line."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from ..failures import OllamaMagicsError


class WrongCall(OllamaMagicsError, TypeError):
    """A TypeError that shows as one line, with the parameters that the operator has."""

    def __init__(
        self, name: str, signature: inspect.Signature, keywords: Iterable[str], problem: str
    ) -> None:
        known = list(signature.parameters)
        unknown = next((one for one in keywords if one not in known), None)
        problem = f"{name}: {problem.rstrip('.')}."
        if unknown is not None:
            close = difflib.get_close_matches(unknown, known, n=1)
            hint = f"Did you mean {close[0]}=?" if close else f"It takes {', '.join(known)}."
        else:
            required = [
                one.name
                for one in signature.parameters.values()
                if one.default is one.empty and one.kind < one.VAR_POSITIONAL
            ]
            positional = [one.name for one in signature.parameters.values() if one.kind < 2]
            first = ", ".join(required or positional)
            hint = f"Call it as .{name}({first})." if required else f"By position: {first}."
        super().__init__(f"{problem} {hint}")


class UnknownMethod(OllamaMagicsError, AttributeError):
    """An AttributeError that shows as one line, with the methods of a similar name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean .{close[0]}?" if close else f"It has {', '.join(known)}."
        super().__init__(f".ollama has no {name}. {hint}")


def checked(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that raises WrongCall in place of Python's TypeError for its arguments."""
    signature = inspect.signature(method)

    def check(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        try:
            signature.bind(*arguments, **keywords)
        except TypeError as error:
            parameters = list(signature.parameters.values())[1:]
            own = signature.replace(parameters=parameters)
            raise WrongCall(method.__name__, own, keywords, str(error)) from None

    @wraps(method)
    def call(*arguments: Any, **keywords: Any) -> Any:
        check(arguments, keywords)
        return method(*arguments, **keywords)

    @wraps(method)
    async def call_async(*arguments: Any, **keywords: Any) -> Any:
        check(arguments, keywords)
        return await method(*arguments, **keywords)

    return call_async if inspect.iscoroutinefunction(method) else call
