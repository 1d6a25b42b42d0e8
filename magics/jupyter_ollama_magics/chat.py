"""What a ``%%chat`` cell does."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from .errors import OllamaClientError
from .failures import reported
from .result import ChatResult, Conversation

if TYPE_CHECKING:
    from .connection import Connection
    from .stream_view import NotebookView, TerminalView


class Chats:
    """The conversations of a kernel and the model they last used."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.model = ""
        self._conversations: dict[str, Conversation] = {}

    def conversation(self, name: str, new: bool = False) -> Conversation:
        """Return the conversation ``name``, begun afresh if it is unknown or ``new``."""
        if new or name not in self._conversations:
            self._conversations[name] = Conversation(name)
        return self._conversations[name]

    def ask(
        self,
        messages: list[dict[str, Any]],
        conversation: Conversation,
        view: NotebookView | TerminalView,
        *,
        model: str = "",
        options: dict[str, Any],
        stats: bool = True,
    ) -> ChatResult:
        """Send ``messages``, show the answer in ``view`` as it comes and return it.

        An interrupt ends the answer, closes its connection and raises nothing. The last message
        and the answer become part of the conversation unless the answer failed or never began.
        """
        result = ChatResult(model or self.model, options, conversation, stats)
        try:
            with reported(self.connection, result.model):
                self._stream(result, messages, view)
        except KeyboardInterrupt:
            result.done_reason = "interrupted"
        except Exception:
            if result.text or result.thinking:
                result.done_reason = "error"
                view.finish(result)
            raise
        if result.text:
            conversation.messages += [messages[-1], result.message]
        if result.done_reason != "interrupted":
            result.digest = self._digest(result.model)
        view.finish(result)
        return result

    def _stream(
        self,
        result: ChatResult,
        messages: list[dict[str, Any]],
        view: NotebookView | TerminalView,
    ) -> None:
        result.model = result.model or self.connection.choose("completion")
        answer = self.connection.client.chat(result.model, messages, options=result.options or None)
        with closing(answer):
            for chunk in answer:
                self.model = result.model
                result.add(chunk)
                view.update(result)
        result.done_reason = result.done_reason or "incomplete"

    def _digest(self, model: str) -> str:
        try:
            entry = self.connection.entry(model)
        except (OllamaClientError, KeyboardInterrupt):
            return ""
        return str((entry or {}).get("digest", ""))
