"""The menu that ``.ollama`` shows of its methods, in a notebook as a table."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from html import escape
from types import FunctionType
from typing import Any

from .call_errors import UnknownMethod, checked

STYLE = """<style>
.jupyter-ollama-menu { color: var(--jp-ui-font-color1, inherit); border-collapse: collapse }
.jupyter-ollama-menu td, .jupyter-ollama-menu th {
  padding: 2px 10px 2px 0; text-align: left; vertical-align: top; background: transparent;
  border: 0; border-bottom: 1px solid var(--jp-border-color2, currentColor) }
.jupyter-ollama-menu code {
  color: var(--jp-content-link-color, inherit); background: transparent; white-space: nowrap }
.jupyter-ollama-menu caption {
  color: var(--jp-ui-font-color2, inherit); caption-side: bottom; text-align: left }
</style>"""


class Menu:
    """Shows the public methods of a subclass, with the first lines of their docstrings.

    A call that fits none of them raises an error of one line.
    """

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        # Methods of parents that have no menu are those of mixins.
        mixins = [one for one in cls.__mro__ if one is cls or not issubclass(one, Menu)]
        for name, method in [item for one in reversed(mixins) for item in vars(one).items()]:
            if name[0] != "_" and isinstance(method, FunctionType):
                setattr(cls, name, checked(method))

    def __getattr__(self, name: str) -> Any:
        raise UnknownMethod(name, _methods(type(self)))

    def __repr__(self) -> str:
        lines = list(_lines(type(self)))
        width = max(len(call) for call, _ in lines)
        rows = [f"  {call:{width}}  {summary}" for call, summary in lines]
        return "\n".join([".ollama: models over rows", *rows, *_notes(type(self))])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td><code>{escape(call)}</code></td><td>{escape(summary)}</td></tr>"
            for call, summary in _lines(type(self))
        )
        notes = f"<caption>{escape(' '.join(_notes(type(self))))}</caption>"
        return f'{STYLE}<table class="jupyter-ollama-menu">{notes}<tbody>{rows}</tbody></table>'


def _lines(owner: type) -> Iterator[tuple[str, str]]:
    """Yield the call of each method with its required arguments, and its summary."""
    for name in _methods(owner):
        method = getattr(owner, name)
        _, *parameters = inspect.signature(method).parameters.values()
        needed = [
            f"*{one.name}" if one.kind is one.VAR_POSITIONAL else one.name
            for one in parameters
            if one.default is one.empty and one.kind is not one.VAR_KEYWORD
        ]
        head = (inspect.getdoc(method) or "").partition("\n\n")[0]
        yield f".{name}({', '.join(needed)})", " ".join(head.split()).replace("``", "")


def _methods(owner: type) -> list[str]:
    names = [name for name in dir(owner) if name[0] != "_" and callable(getattr(owner, name))]
    return [name for name in names if not _is_twin(owner, name)]


def _is_twin(owner: type, name: str) -> bool:
    """Return whether a method is the coroutine of another one."""
    return inspect.iscoroutinefunction(getattr(owner, name)) and hasattr(owner, name[1:])


def _notes(owner: type) -> list[str]:
    twins = any(_is_twin(owner, name) for name in dir(owner) if name[0] != "_")
    awaited = ["Coroutines have an a before the name: await .achat()."] if twins else []
    return ["Help: put ? after a name.", *awaited]
