"""Rendering a conversation with the renderer that a model's config names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Template

from ..budget import FULL, spending
from ..errors import TemplateError
from ..jinja_sandbox import ChatEnvironment, bounded_join
from ..messages import Message
from .filters import FILTERS
from .shown import shown_messages, shown_tools
from .table import RENDERERS


class Renderer:
    """A built-in renderer. Raises KeyError for a name that is not in RENDERERS.

    A template receives ``messages`` and ``tools`` (see ``shown``), ``think`` of the request (on,
    off, a level or None), and the values of its variant.
    """

    def __init__(self, name: str) -> None:
        variant = RENDERERS[name]
        self._template = _compiled(variant.template)
        self._values = variant.values

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        think: bool | str | None = None,
    ) -> str:
        """Render a conversation up to the beginning of the answer.

        Raises TemplateError if the renderer refuses the conversation or the prompt is too long.
        """
        try:
            values = {
                **self._values,
                "messages": shown_messages(messages),
                "tools": shown_tools(tools),
                "think": think,
            }
            with spending(FULL):
                return bounded_join(self._template.generate(values))
        except RecursionError as error:
            raise TemplateError("the conversation is nested too deeply") from error
        except Exception as error:
            raise TemplateError(str(error) or type(error).__name__) from error


@cache
def _compiled(name: str) -> Template:
    file = resources.files(__package__).joinpath(f"{name}.jinja")
    return _environment().from_source(file.read_text(encoding="utf-8"))


@cache
def _environment() -> ChatEnvironment:
    environment = ChatEnvironment()
    environment.filters.update(FILTERS)
    environment.tests["list"] = lambda value: isinstance(value, list)
    return environment
