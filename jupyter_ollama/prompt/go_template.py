"""Ollama's prompt templates (Go text/template): messages and tools in, prompt out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from .budget import FULL, Spending, spending
from .go_values import go_message, go_tools
from .messages import Message

if TYPE_CHECKING:
    from .go_program import GoProgram


class GoTemplate:
    """A Go template, compiled. Raises TemplateError if ``source`` is invalid.

    ``variables`` are the names it uses, lower-cased: ``"tools" in template.variables``.
    """

    def __init__(self, source: str) -> None:
        from .go_program import compile_source  # gotpl takes 150 ms to import

        self.source = source
        self._program: GoProgram = compile_source(source)
        self.variables: frozenset[str] = self._program.variables

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        think: bool | str | None = None,
        *,
        allowed: Spending = FULL,
    ) -> str:
        """Render a conversation; a failing template raises TemplateError.

        ``think`` is on, off, a level, or None if the request does not set it. Raises OverBudget
        beyond ``allowed``.
        """
        with spending(allowed):
            return self._render(messages, tools, think)

    def _render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        think: bool | str | None,
    ) -> str:
        system, collated = collate(messages)
        flags = _thinking_flags(think)
        if "messages" not in self.variables:
            return self._render_rounds(collated, flags)
        return self._program.run(
            {
                "System": system,
                "Messages": [go_message(message) for message in collated],
                "Tools": go_tools(tools),
                "Response": "",
                **flags,
            }
        )

    def render_suffix(self, prompt: str, suffix: str, *, allowed: Spending = FULL) -> str:
        """Render a fill-in-the-middle prompt; a failing template raises TemplateError."""
        values = {"Prompt": prompt, "Suffix": suffix, "Response": "", **_thinking_flags(None)}
        with spending(allowed):
            return self._program.run(values)

    def _render_rounds(self, messages: Sequence[Message], flags: Mapping[str, Any]) -> str:
        """Run a template without .Messages once for each round of system, prompt and response.

        The last round ends at its response, which the model continues.
        """
        empty = {"System": "", "Prompt": "", "Response": ""}
        later = {"system": ("Prompt", "Response"), "user": ("Response",), "assistant": ()}
        name = {"system": "System", "user": "Prompt", "assistant": "Response"}
        values = dict(empty)
        pieces = []
        for message in messages:
            if message.role not in name:
                continue
            if any(values[part] for part in later[message.role]):
                pieces.append(self._program.run({**values, **flags}))
                values = dict(empty)
            values[name[message.role]] = message.content
        pieces.append(self._program.run({**values, **flags}, cut=True))
        return "".join(pieces)


def collate(messages: Sequence[Message]) -> tuple[str, list[Message]]:
    """Join all system contents, and consecutive messages of one role (but not of tools)."""
    collated: list[Message] = []
    for message in messages:
        last = collated[-1] if collated else None
        if last is None or last.role != message.role or message.role == "tool":
            collated.append(message)
            continue
        collated[-1] = msgspec.structs.replace(
            last,
            content=f"{last.content}\n\n{message.content}",
            images=last.images + message.images,
            tool_calls=last.tool_calls + message.tool_calls,
        )
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    return system, collated


def _thinking_flags(think: bool | str | None) -> dict[str, Any]:
    level = think if isinstance(think, str) else "medium" if think else ""
    return {"Think": bool(think), "ThinkLevel": level, "IsThinkSet": think is not None}
