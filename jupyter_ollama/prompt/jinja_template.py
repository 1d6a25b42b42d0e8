"""The chat template of a GGUF (Jinja): messages and tools in, prompt out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from typing import Any

from jinja2.exceptions import TemplateSyntaxError

from .budget import FULL, OverBudget, Spending, spending
from .call_ids import with_short_ids
from .errors import TemplateError
from .jinja_sandbox import ChatEnvironment, bounded_join
from .jinja_values import Absent, given_functions, given_messages, given_tools
from .messages import Message

_SAMPLE = "sample of a text"


class JinjaTemplate:
    """A chat template, compiled. Raises TemplateError if ``source`` is invalid."""

    def __init__(self, source: str, bos_token: str = "", eos_token: str = "") -> None:
        self.source = source
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        try:
            self._template = ChatEnvironment().from_source(source)
        except TemplateSyntaxError as error:
            raise TemplateError(f"line {error.lineno}: {error.message}") from error
        except Exception as error:  # such as generated code that Python refuses
            raise _template_error(error) from error

    @property
    def tokens(self) -> tuple[str, str]:
        """The texts of the BOS and EOS tokens, which templates may write."""
        return self._tokens["bos_token"], self._tokens["eos_token"]

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        think: bool | str | None = None,
        *,
        begin_answer: bool = True,
        allowed: Spending = FULL,
    ) -> str:
        """Render a conversation, with ``begin_answer`` also the beginning of the answer.

        ``think`` is on, off, a level, or None if the request does not set it. A template that
        fails, refuses the conversation or writes too much raises TemplateError; one that exceeds
        ``allowed`` raises OverBudget.
        """
        with spending(allowed):
            return self._render_somehow(messages, tools, think, begin_answer)

    def _render_somehow(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        think: bool | str | None,
        begin_answer: bool,
    ) -> str:
        try:
            return self._render(
                messages, tools, think, in_parts=self._takes_parts, begin_answer=begin_answer
            )
        except OverBudget:
            raise
        except TemplateError as error:
            for others, in_parts in self._other_forms(messages):
                with suppress(TemplateError):
                    return self._render(
                        others, tools, think, in_parts=in_parts, begin_answer=begin_answer
                    )
            raise error

    def _other_forms(self, messages: Sequence[Message]) -> Iterator[tuple[Sequence[Message], bool]]:
        """Yield alternative forms of the messages for a template that refuses the usual one."""
        if self._may_take_parts and not self._takes_parts:
            yield messages, True
        renamed = with_short_ids(messages)
        if renamed is not None:
            yield renamed, self._takes_parts

    def _render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        think: bool | str | None = None,
        *,
        in_parts: bool = False,
        begin_answer: bool = True,
    ) -> str:
        values = {
            "messages": given_messages(messages, in_parts=in_parts),
            "tools": given_tools(tools),
            "documents": Absent(name="documents"),
            "add_generation_prompt": begin_answer,
            **self._tokens,
            **_dates(),
            **_thinking_flags(think),
        }
        if self._takes_functions:
            values["functions"] = given_functions(tools)
        try:
            return bounded_join(self._template.generate(values))
        except Exception as error:  # any failure is attributed to the hostile template
            raise _template_error(error) from error

    @cached_property
    def _takes_functions(self) -> bool:
        """Whether the template supports tools only under another name."""
        return not re.search(r"\btools\b", self.source) and "functions" in self.source

    @cached_property
    def _may_take_parts(self) -> bool:
        return re.search(r"\btext\b", self.source) is not None

    @cached_property
    def _takes_parts(self) -> bool:
        """Whether the template omits a content that is a text, not a list of parts."""
        if not self._may_take_parts:
            return False
        sample = [Message(role="user", content=_SAMPLE)]
        return not self._shows(sample, in_parts=False) and self._shows(sample, in_parts=True)

    def _shows(self, sample: Sequence[Message], *, in_parts: bool) -> bool:
        try:
            return _SAMPLE in self._render(sample, in_parts=in_parts)
        except OverBudget:
            raise
        except TemplateError:
            return False


def _dates() -> dict[str, str]:
    """Set the current date under the names and in the forms of Llama 3 and Firefunction."""
    now = datetime.now()
    return {"date_string": now.strftime("%d %b %Y"), "datetime": now.strftime("%b %d %Y")}


def _thinking_flags(think: bool | str | None) -> dict[str, Any]:
    """Set the variables that families of models use for thinking; unset is their default."""
    if think is None:
        return {}
    on = bool(think)
    flags: dict[str, Any] = {"enable_thinking": on, "thinking": on, "reasoning": on}
    flags["thinking_mode"] = "enabled" if on else "disabled"
    if not on:
        flags["thinking_budget"] = 0
    if isinstance(think, str):
        flags["reasoning_effort"] = flags["reasoning_strength"] = think
    return flags


def _template_error(error: Exception) -> TemplateError:
    if isinstance(error, TemplateError):
        return error
    if isinstance(error, RecursionError):
        return TemplateError("the template recurses too deeply")
    return TemplateError(str(error) or type(error).__name__)
