"""The chat template of a GGUF (Jinja): messages and tools in, prompt out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2.exceptions import TemplateSyntaxError

from .errors import TemplateError
from .jinja_sandbox import COUNTER, ChatEnvironment, LoopCounter, bounded_join
from .messages import Message


class JinjaTemplate:
    """A chat template, compiled. Raises TemplateError if ``source`` is none."""

    def __init__(self, source: str, bos_token: str = "", eos_token: str = "") -> None:
        self.source = source
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        try:
            self._template = ChatEnvironment().from_source(source)
        except TemplateSyntaxError as error:
            raise TemplateError(f"line {error.lineno}: {error.message}") from error
        except Exception as error:  # generated code that Python refuses, for one
            raise _template_error(error) from error

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        think: bool | str | None = None,
    ) -> str:
        """Render a conversation up to where the model's answer begins.

        ``think`` is on, off, a level, or None for a request that does not say. A template that
        fails, refuses the conversation or writes too much raises TemplateError.
        """
        values = {
            "messages": [chat_message(message) for message in messages],
            "tools": [dict(tool) for tool in tools] or None,
            "add_generation_prompt": True,
            **self._tokens,
            **_thinking_flags(think),
            COUNTER: LoopCounter(),
        }
        try:
            return bounded_join(self._template.generate(values))
        except Exception as error:  # whatever hostile input breaks is still the template's fault
            raise _template_error(error) from error


def chat_message(message: Message) -> dict[str, Any]:
    """Show a message as templates written for Hugging Face's libraries expect it."""
    shown: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.thinking:
        shown["thinking"] = shown["reasoning_content"] = message.thinking
    if message.tool_calls:
        shown["tool_calls"] = [
            {
                "type": "function",
                "id": call.id,
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_name:
        shown["name"] = shown["tool_name"] = message.tool_name
    if message.tool_call_id:
        shown["tool_call_id"] = message.tool_call_id
    return shown


def _thinking_flags(think: bool | str | None) -> dict[str, Any]:
    """Set what the families of models call it; unset leaves the choice to the template."""
    if think is None:
        return {}
    flags: dict[str, Any] = {"enable_thinking": bool(think), "thinking": bool(think)}
    if isinstance(think, str):
        flags["reasoning_effort"] = think
    return flags


def _template_error(error: Exception) -> TemplateError:
    if isinstance(error, RecursionError):
        return TemplateError("the template recurses too deeply")
    return TemplateError(str(error) or type(error).__name__)
