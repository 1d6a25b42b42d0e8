"""The error of a call whose arguments do not fit the signature of an operator."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable

from .failures import OllamaMagicsError


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
                if one.default is one.empty and one.kind is not one.VAR_KEYWORD
            ]
            positional = [one.name for one in signature.parameters.values() if one.kind < 2]
            first = ", ".join(required or positional)
            hint = f"Call it as .{name}({first})." if required else f"By position: {first}."
        super().__init__(f"{problem} {hint}")
