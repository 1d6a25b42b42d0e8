"""The decorator of the subcommands of ``%ollama``.

Dispatch, options, tab completion, ``%ollama help`` and the documentation are derived from it, so a
new subcommand is one decorated method in ``commands.py``.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from IPython.core.magic_arguments import argument

from .failures import OllamaMagicsError

Method = TypeVar("Method", bound=Callable[..., Any])

MODELS = "models"
"""Completes a word with the models on the server."""

HELP_COLUMN = 37
_ENTRY = "_ollama_subcommand"

OTHER_HELP = "%%chat? and %embed? explain the other two. %config OllamaMagics lists the settings."


@dataclass(frozen=True)
class Subcommand:
    """A subcommand: its method, the ways to call it and their meanings, and its options.

    The words of a line are the positional arguments of ``method``, options the keyword-only ones.
    ``completes`` has MODELS, a tuple of words or None for each word of the line.
    """

    name: str
    method: Callable[..., Any]
    usages: Sequence[tuple[str, str]]
    options: Sequence[argument]
    completes: Sequence[str | tuple[str, ...] | None]
    suggests_pull: bool

    def __call__(self, commands: Any, args: argparse.Namespace) -> Any:
        """Run the subcommand. Raises OllamaMagicsError for a wrong number of words."""
        parameters = inspect.signature(self.method).parameters.values()
        options = {p.name: getattr(args, p.name) for p in parameters if p.kind is p.KEYWORD_ONLY}
        try:
            inspect.signature(self.method).bind(commands, *args.words, **options)
        except TypeError as error:
            raise OllamaMagicsError(f"Usage: {self.usages[0][0]}") from error
        return self.method(commands, *args.words, **options)


Table = Mapping[str, Subcommand]


def subcommand(
    usage: str,
    meaning: str,
    *more: tuple[str, str],
    options: Sequence[argument] = (),
    completes: Sequence[str | tuple[str, ...] | None] = (),
    suggests_pull: bool = False,
) -> Callable[[Method], Method]:
    """Make a method a subcommand.

    ``usage`` begins with its name. ``more`` are further usages with their meanings. With
    ``suggests_pull`` the error about a missing model names the command that gets it.
    """
    usages = [
        (text if text.startswith("%") else f"%ollama {text}", about)
        for text, about in ((usage, meaning), *more)
    ]
    name = usage.split()[0]

    def decorate(method: Method) -> Method:
        entry = Subcommand(name, method, usages, options, completes, suggests_pull)
        setattr(method, _ENTRY, entry)
        return method

    return decorate


def table(owner: type) -> Table:
    """Return the subcommands among the methods of a class, by name, in the order of the class."""
    entries = (getattr(method, _ENTRY, None) for method in vars(owner).values())
    return {entry.name: entry for entry in entries if entry is not None}


def find(subcommands: Table, name: str) -> Subcommand:
    """Return a subcommand. Raises OllamaMagicsError with the names there are."""
    if found := subcommands.get(name):
        return found
    close = difflib.get_close_matches(name, subcommands, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise OllamaMagicsError(
        f"%ollama has no command {name}.{hint} It has {', '.join(subcommands)}."
    )


def with_options(subcommands: Table) -> Callable[[Method], Method]:
    """Return a decorator that gives a magic the options of all subcommands."""

    def decorate(magic: Method) -> Method:
        options = [option for one in subcommands.values() for option in one.options]
        for option in reversed(options):
            magic = option(magic)
        return magic

    return decorate


def help_text(subcommands: Table) -> str:
    """Return the usages of all subcommands with their meanings, in two columns."""
    lines = []
    for one in subcommands.values():
        for usage, meaning in one.usages:
            first, *others = meaning.split("\n")
            lines += [f"{usage:<{HELP_COLUMN}}{first}", *(" " * HELP_COLUMN + t for t in others)]
    return "\n".join([*lines, "", OTHER_HELP])


def markdown_rows(subcommands: Table) -> Iterator[str]:
    """Yield the rows of a markdown table of all usages and their meanings."""
    for one in subcommands.values():
        for usage, meaning in one.usages:
            first, *options = meaning.split("\n")
            code = "".join(f" `{text}`" for text in options)
            yield f"| `{usage}` | {first[0].upper()}{first[1:]}.{code} |"
